"""What each script does, from a composed configuration to a finished run folder."""
