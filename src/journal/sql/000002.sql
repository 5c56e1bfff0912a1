-- Snapshots of VMs for which nobody else keeps them. What mirrors a mirrored snapshot is in `migrations`.

CREATE TABLE snapshots (
  seq     INTEGER PRIMARY KEY, -- the order in which they were taken
  vm_uuid TEXT NOT NULL, -- lower case; empty when the VM has none: then its name says which VM it is
  vm_name TEXT NOT NULL,
  name    TEXT NOT NULL,
  xml     TEXT NOT NULL, -- the <domainsnapshot>
  current INTEGER NOT NULL CHECK (current IN (0, 1))
) STRICT;

CREATE INDEX snapshots_vm ON snapshots (vm_uuid, vm_name, seq);
