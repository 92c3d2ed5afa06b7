"""Who is calling: workloads by SPIFFE ID, users by token. Rules only; nothing here opens a file or a socket."""
