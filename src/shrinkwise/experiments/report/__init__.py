"""Pictures, tables and pages from records.

Reads records and stats only: nothing is trained or decided here.
The same answer in the terminal, as Markdown, CSV, figures and one self-contained page.
"""
