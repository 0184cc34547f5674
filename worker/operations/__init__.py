"""What a person can do: one function for each action, used by the API, the pages and the command line."""
