"""The command line: a file a command. Modules here import nothing heavy until their command runs."""
