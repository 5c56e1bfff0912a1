-- Snapshots without mirrors that are being taken: written before anything is made, and gone once it is recorded what came of it.

CREATE TABLE snapshot_intents (
  id         TEXT PRIMARY KEY, -- that of the control socket of whoever takes it
  vm_name    TEXT NOT NULL,
  vm_uuid    TEXT NOT NULL, -- lower case; empty when the VM has none
  vm_process TEXT NOT NULL, -- bootid/pid/starttime
  vm_address TEXT NOT NULL,
  vm_host    TEXT NOT NULL,
  name       TEXT NOT NULL,
  plan       TEXT NOT NULL CHECK (json_valid(plan)),
  created_at INTEGER NOT NULL
) STRICT;
