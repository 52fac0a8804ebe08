"""The route database: an ASCII-validated GDBM file that Apache httpd reads as well."""
