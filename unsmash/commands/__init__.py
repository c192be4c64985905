"""The commands of the command line, by what they do. Each imports torch and what needs it when it is called."""
