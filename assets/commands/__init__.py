"""The subcommands of `rwid`, one file a noun or verb. Each reads its arguments, calls one function below, and answers."""
