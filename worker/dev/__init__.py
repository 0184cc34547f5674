"""Run the whole stack on one machine without other servers: broker, sandbox, first source, first events."""
