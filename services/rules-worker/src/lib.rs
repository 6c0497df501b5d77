//! Claims messages from the rules queue, evaluates the SQL and runs the actions.
