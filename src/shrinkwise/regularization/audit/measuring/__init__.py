"""What steps on stand-ins, real steps and runs of the model show; each leaves everything as it was."""
