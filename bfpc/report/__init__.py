"""`report.html` of a build: one page that holds all it needs."""
