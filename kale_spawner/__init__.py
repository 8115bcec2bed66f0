"""JupyterLab and VS Code with Kale, on volumes that last, for JupyterHub on Kubernetes."""

__version__ = "0.1.0"
