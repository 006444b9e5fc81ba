"""Runs as pages: one self-contained HTML file of a run, or of several beside each other.

From Python::

    from pathlib import Path

    from chainkit.run_record import read_record
    from chainkit_report.run_page import run_page

    Path("report.html").write_text(run_page(read_record(Path("runs/infusion_digits"))))
"""
