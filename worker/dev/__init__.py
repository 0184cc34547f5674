"""Run the whole stack on one machine with nothing installed: broker, sandbox, first source, first events."""
