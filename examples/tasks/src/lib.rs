//! jobcast-example-tasks
