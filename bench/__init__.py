"""What is measured, and not part of any test run."""
