//! What the client does after a node of the pipeline fails.
