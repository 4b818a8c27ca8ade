"""How the bundled weights were made and measured: scripts, run by hand."""
