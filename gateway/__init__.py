"""nbgate: a reverse-proxy gateway for Jupyter notebooks that starts them on demand."""
