"""What a fresh Debian machine lacks, installed: system packages and Python environments.

Standard library only: this runs before anything of the project's is installed.
"""
