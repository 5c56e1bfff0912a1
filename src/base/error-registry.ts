/**
 * Every error that blockferry reports, in one place: what happened, what the user can do, and with which status the
 * command line ends. `docs/errors.md` documents each one, and a test fails when the two differ in either direction.
 *
 * Message templates name their fields in braces; `FerryError` requires them by type.
 */

/** Exit statuses of the command line. They are documented in docs/cli.md and never change their meaning. */
export const EXIT = {
  /** All that was asked is done. */
  done: 0,
  /** Something is broken that is not about this migration: no such file, a bug, a lost terminal. */
  failed: 1,
  /** The command line itself is wrong. Nothing was touched. */
  usage: 2,
  /** The plan refuses: nothing was touched. */
  refused: 3,
  /** The migration failed or was aborted and was rolled back: the guest goes on at the source, nothing is left over. */
  rolledBack: 4,
  /** The migration is unfinished or something remains to be done by a person: read the message. */
  attention: 5,
} as const;

export type ExitName = keyof typeof EXIT;

export interface Entry {
  /** What happened, with `{field}` for each detail. */
  readonly message: string;
  /** What the user can do next. May use the same fields. */
  readonly remedy: string;
  readonly exit: ExitName;
}

export const ERRORS = {
  // ---- base ---------------------------------------------------------------------------------------------------
  INTERNAL: {
    message: 'blockferry has a bug: {what}',
    remedy: 'Report it with the output of `blockferry status --json`. What was intended and done is in the journal.',
    exit: 'failed',
  },
  ABORTED: {
    message: '{what} was aborted',
    remedy: 'Nothing; it was asked for.',
    exit: 'failed',
  },
  BAD_SIZE: {
    message: "'{text}' is not a size or a rate",
    remedy: 'Write a number with an optional unit: 512, 64k, 100M, 2GiB (k, M, G, T are powers of 1024).',
    exit: 'usage',
  },
  BAD_TIME: {
    message: "'{text}' is not a number of milliseconds",
    remedy: 'Write a whole number above 0, as 500.',
    exit: 'usage',
  },
  TOOL_MISSING: {
    message: "the program '{program}' cannot be started: {reason}",
    remedy: 'Install the package that has it (Debian: qemu-utils for qemu-img and qemu-storage-daemon).',
    exit: 'failed',
  },
  TOOL_FAILED: {
    message: '{program} failed ({outcome}): {stderr}',
    remedy: 'The message of the program says why. The exact command is in the details (`--json`).',
    exit: 'failed',
  },
  NO_EVENT: {
    message: 'no event ({events}) within {ms} ms',
    remedy: 'Look at the state of the VM: what was waited for has not happened, or happened before.',
    exit: 'failed',
  },
  EVENTS_LOST: {
    message: 'more than {limit} events ({events}) came that nobody took',
    remedy: 'Look at the state of the VM: the flood of events itself says that a disk or a job fails again and again.',
    exit: 'failed',
  },

  // ---- image --------------------------------------------------------------------------------------------------
  IMAGE_MISSING: {
    message: "the image '{path}' does not exist",
    remedy: 'Check the path; for a backing image, the name in the header of the image above it (`qemu-img info -U`).',
    exit: 'refused',
  },
  IMAGE_UNREADABLE: {
    message: "the image '{path}' cannot be opened: {reason}",
    remedy: 'Run as a user who may read the image (the same as the QEMU process, or root).',
    exit: 'refused',
  },
  IMAGE_KIND: {
    message: "'{path}' is neither a regular file nor a block device",
    remedy: 'Only images in files and on block devices can be moved.',
    exit: 'refused',
  },
  IMAGE_BROKEN: {
    message: "QEMU cannot read the image '{path}': {reason}",
    remedy: 'Look at it with `qemu-img check` while no VM uses it, or state its right format.',
    exit: 'refused',
  },
  IMAGE_IN_USE: {
    message: "the image '{path}' is in use by another process",
    remedy: 'Find it with `fuser -v {path}`. An image that a VM writes to cannot be copied or folded from outside.',
    exit: 'refused',
  },
  IMAGE_FORMAT_UNSUPPORTED: {
    message: "the image '{path}' has the format {format}; only raw and qcow2 images are moved",
    remedy: 'Convert it with `qemu-img convert` while the VM is off.',
    exit: 'refused',
  },
  IMAGE_FORMAT_UNSTATED: {
    message: "nobody states the format of the image '{path}' (it looks like {format})",
    remedy:
      'A guest can write what it likes into a raw image, so its format is not guessed. State it in the header above: `qemu-img rebase -u -F FORMAT -b NAME` while the VM is off.',
    exit: 'refused',
  },
  IMAGE_DATA_FILE: {
    message: "the image '{path}' keeps its data in an external file ('{dataFile}')",
    remedy: 'Convert it to a qcow2 image without `data_file` while the VM is off.',
    exit: 'refused',
  },
  IMAGE_ENCRYPTED: {
    message: "the image '{path}' is encrypted",
    remedy: 'Images that need a secret are not moved.',
    exit: 'refused',
  },
  IMAGE_CORRUPT: {
    message: "the image '{path}' is marked corrupt",
    remedy: 'Repair it with `qemu-img check -r all` while the VM is off.',
    exit: 'refused',
  },
  BACKING_PROTOCOL: {
    message: "the header of '{path}' names '{name}' as its backing image, which is not a plain file name",
    remedy:
      'Names that begin with `json:` or a protocol can lead anywhere and are not followed. Put a plain file name into the header: `qemu-img rebase -u` while the VM is off.',
    exit: 'refused',
  },
  BACKING_LOOP: {
    message: "the backing chain comes back to '{path}'",
    remedy: 'The headers name each other in a circle; put the right backing name in with `qemu-img rebase -u`.',
    exit: 'refused',
  },
  BACKING_TOO_DEEP: {
    message: "the backing chain of '{path}' is deeper than {limit} images",
    remedy: 'Fold some of its images together first (`qemu-img commit`, or `virsh blockcommit`).',
    exit: 'refused',
  },
  BACKING_ELSEWHERE: {
    message:
      "the header of '{path}' names '{name}' as its backing image, which is not part of the chain as it was planned",
    remedy:
      'Nothing was opened. Find out who changed the header; put the right backing name in with `qemu-img rebase -u` while no VM uses the image, then run the same command again.',
    exit: 'attention',
  },
  NOT_AN_OVERLAY: {
    message: "the image '{path}' has no backing image to be folded into",
    remedy: 'It is whole by itself; nothing is to be done.',
    exit: 'refused',
  },
  TARGET_EXISTS: {
    message: "the file '{path}' exists already and is not overwritten",
    remedy: 'Choose another target, or remove the file if nothing needs it.',
    exit: 'refused',
  },
  TARGET_REFUSED: {
    message: "the file '{path}' cannot be created: {reason}",
    remedy: 'Make the folder, or choose a target that can be written to.',
    exit: 'refused',
  },
  IMAGE_OWNER: {
    message: "'{path}' cannot be given to user {uid}, group {gid}: {reason}",
    remedy: "The VM's QEMU could not open it. Run as root, or on a file system that keeps owners.",
    exit: 'refused',
  },
  COPY_FAILED: {
    message: "copying '{source}' to '{target}' failed: {reason}",
    remedy:
      'Free space or repair the storage and start again. The source was only read; the partial target was removed.',
    exit: 'failed',
  },
  SOURCE_CHANGED: {
    message: "the image '{path}' was written to since the snapshot, although nobody may write to it",
    remedy: 'Something writes to an image that is below a snapshot. Find out what before you try again.',
    exit: 'failed',
  },
  VERIFY_MISMATCH: {
    message: "the copy '{target}' differs from '{source}' at byte {offset}",
    remedy:
      'The target storage did not keep what was written to it, or something else wrote to the copy. Check that storage; the copy is not used.',
    exit: 'failed',
  },
  VERIFY_FAILED: {
    message: "'{target}' could not be compared with '{source}': {reason}",
    remedy: 'The copy is unproven, not wrong. Check the storage and start again.',
    exit: 'failed',
  },
  // ---- qmp ----------------------------------------------------------------------------------------------------
  QMP_NO_SOCKET: {
    message: "there is no QMP socket '{address}'",
    remedy: 'Check the path (`blockferry discover` lists the monitors of this host). A VM that has ended leaves none.',
    exit: 'failed',
  },
  QMP_REFUSED: {
    message: "nobody listens on the QMP socket '{address}'",
    remedy: 'The VM that made the socket has ended, or its monitor is not a server. Start the VM again.',
    exit: 'failed',
  },
  QMP_DENIED: {
    message: "no permission to connect to the QMP socket '{address}'",
    remedy: 'Run as root or as the user that runs this QEMU.',
    exit: 'failed',
  },
  QMP_BUSY: {
    message: "the QMP monitor '{address}' did not greet: {why}",
    remedy:
      'QEMU serves one client of a monitor at a time: close the other one (libvirt keeps its own), or give the VM a second `-qmp`. A monitor without other clients that does not greet belongs to a QEMU that hangs.',
    exit: 'failed',
  },
  QMP_CONNECT: {
    message: "cannot connect to the QMP monitor '{address}': {reason}",
    remedy: 'Check the address and whether the VM runs.',
    exit: 'failed',
  },
  QMP_COMMAND: {
    message: "QEMU refused '{command}': {desc} ({class})",
    remedy: 'The VM goes on unchanged by this command. What was sent and received is in the details (`--json`).',
    exit: 'failed',
  },
  QMP_INTERRUPTED: {
    message: "the connection to '{address}' ended ({why}): {outcome}",
    remedy: 'Connect again and look at the state of the VM before anything is repeated.',
    exit: 'failed',
  },
  QMP_CLOSED: {
    message: "the connection to '{address}' is closed ({why}): '{command}' was not sent",
    remedy: 'Connect again. The command had no effect.',
    exit: 'failed',
  },
  QMP_TIMEOUT: {
    message: "no answer to '{command}' within {ms} ms: {outcome}",
    remedy:
      'Look at the state of the VM before the command is repeated. A monitor that stays silent is blocked by I/O.',
    exit: 'failed',
  },
  QMP_PROTOCOL: {
    message: 'the QMP peer broke the protocol: {why}',
    remedy:
      'Check that the address is a QMP monitor of QEMU. The connection was closed; commands under way may have run.',
    exit: 'failed',
  },
  QMP_NO_OOB: {
    message: "'{command}' cannot be executed out of band on '{address}'",
    remedy: 'Out of band needs a monitor of its own that offers it (QEMU >= 2.12, a chardev without mux).',
    exit: 'failed',
  },
  QMP_ARGUMENT: {
    message: "the value of '{name}' cannot be sent over QMP: {why}",
    remedy: 'Nothing was sent. Rename the file if its name holds such characters.',
    exit: 'failed',
  },

  // ---- libvirt ------------------------------------------------------------------------------------------------
  LIBVIRT_URI: {
    message: "'{uri}' is no connection URI of libvirt that can be used: {why}",
    remedy:
      'Write it as virsh takes it: qemu:///system, qemu:///session, qemu+ssh://user@host/system, test:///default.',
    exit: 'usage',
  },
  LIBVIRT_NO_SOCKET: {
    message: "there is no libvirt socket '{address}'",
    remedy: 'Start libvirtd (or virtqemud), or give the right URI with --connect. A session has a daemon of its own.',
    exit: 'failed',
  },
  LIBVIRT_REFUSED: {
    message: "nobody listens at '{address}'",
    remedy: 'Start libvirtd (or virtqemud); for a remote host look whether it listens there.',
    exit: 'failed',
  },
  LIBVIRT_DENIED: {
    message: "no permission to connect to libvirt at '{address}'",
    remedy: 'Run as root, or as a member of the group that may (Debian: libvirt).',
    exit: 'failed',
  },
  LIBVIRT_CONNECT: {
    message: "cannot connect to libvirt at '{address}': {reason}",
    remedy: 'Check the URI; `virsh -c URI version` goes the same way.',
    exit: 'failed',
  },
  LIBVIRT_SILENT: {
    message: "libvirt at '{address}' did not open a connection within {ms} ms",
    remedy: 'Look at libvirtd (its log, `virsh version`): a daemon that probes a QEMU that hangs is silent meanwhile.',
    exit: 'failed',
  },
  LIBVIRT_AUTH: {
    message: "libvirt at '{address}' does not let us in: {why}",
    remedy: 'Run as root, or let polkit allow org.libvirt.unix.manage to this user.',
    exit: 'failed',
  },
  LIBVIRT_ERROR: {
    message: "libvirt refused '{call}': {message} (code {code}, domain {domain}, level {level})",
    remedy: "The message is libvirt's own. What was sent is in the details (`--json`).",
    exit: 'failed',
  },
  LIBVIRT_INTERRUPTED: {
    message: "the connection to libvirt at '{address}' ended ({why}): {outcome}",
    remedy: 'Connect again and look at the state of the VM before anything is repeated. The VM itself goes on.',
    exit: 'failed',
  },
  LIBVIRT_CLOSED: {
    message: "the connection to libvirt at '{address}' is closed ({why}): '{call}' was not sent",
    remedy: 'Connect again. The call had no effect.',
    exit: 'failed',
  },
  LIBVIRT_TIMEOUT: {
    message: "no reply to '{call}' from libvirt within {ms} ms: {outcome}",
    remedy: "Look at the state of the VM before the call is repeated. A call waits while the VM's storage does.",
    exit: 'failed',
  },
  LIBVIRT_PROTOCOL: {
    message: 'the libvirt peer broke the protocol: {why}',
    remedy:
      'Check that the address is a libvirtd. The connection was closed; calls under way may have been carried out.',
    exit: 'failed',
  },
  LIBVIRT_ARGUMENT: {
    message: "'{call}' cannot be sent to libvirt: {why}",
    remedy:
      'Nothing was sent. libvirt takes texts of at most 4 MiB, without NUL characters, and numbers of fixed sizes.',
    exit: 'failed',
  },
  // ---- migration: the plan refuses -----------------------------------------------------------------------------
  PLAN_REFUSED: {
    message: 'the migration of {vm} is refused, and nothing was touched: {reasons}',
    remedy: 'Each reason says what can be done about it; `blockferry plan` with the same options shows them all.',
    exit: 'refused',
  },
  NO_SUCH_DISK: {
    message: "{vm} has no disk '{disk}'; it has: {disks}",
    remedy: 'Name a disk as `blockferry discover` or `blockferry plan` shows it.',
    exit: 'refused',
  },
  NO_DISK_TO_MOVE: {
    message: '{vm} has no disk that can be moved: {reasons}',
    remedy: 'Only disks that the guest can write to are moved.',
    exit: 'refused',
  },
  DISK_STAYS: {
    message: 'disk {disk} cannot be moved: {reason}',
    remedy: 'Leave it out. It stays where it is, and the VM goes on using it from there.',
    exit: 'refused',
  },
  DISK_SHAREABLE: {
    message: 'disk {disk} is shareable (share-rw=on): what another VM writes to it would not reach the mirror',
    remedy: 'Name the other disks with --disk, or shut down every VM that uses it and copy it.',
    exit: 'refused',
  },
  DISK_NOT_A_FILE: {
    message: 'disk {disk} has {image}, which is not a file on this host (QEMU uses the driver {protocol})',
    remedy: 'Only image files are moved so far. Name the other disks with --disk.',
    exit: 'refused',
  },
  DISK_FILTER: {
    message: 'disk {disk} has a filter node ({filters}) between the device and the image',
    remedy: 'Remove the filter, or name the other disks with --disk.',
    exit: 'refused',
  },
  DISK_BITMAPS: {
    message:
      'disk {disk} has dirty bitmaps ({bitmaps}), as backup programs leave them; a mirror or a snapshot does not carry them over',
    remedy:
      'Persistent bitmaps move, but not with --no-fold or below a snapshot. Remove the others (block-dirty-bitmap-remove) and make a full backup afterwards.',
    exit: 'refused',
  },
  LINK_FORMAT: {
    message:
      'disk {disk}: a link at {image} would lead from a raw image to a qcow2 overlay, which the VM would read as raw',
    remedy: 'Leave out --no-fold or --leave-link, or name the other disks with --disk.',
    exit: 'refused',
  },
  DISK_CHAIN_DIFFERS: {
    message: 'disk {disk}: the VM has {running} open where the image headers lead to {stored}',
    remedy: 'The VM was started with another chain than its images name. Repair the header (qemu-img rebase -u) first.',
    exit: 'refused',
  },
  DISK_FILE_NOT_FOUND: {
    message: 'disk {disk}: the file that the VM calls {image} is not to be found on this host: {reason}',
    remedy: 'Run blockferry on the host of the VM, outside of containers, as a user who may read the images.',
    exit: 'refused',
  },
  NO_TARGET: {
    message: 'no target folder is given for disk {disk}',
    remedy: 'Give --to DIR for all disks, or --disk {disk}=DIR for this one.',
    exit: 'refused',
  },
  TARGET_FOLDER: {
    message: 'the target folder {folder} cannot be used: {reason}',
    remedy: 'Give an existing folder on the target storage (is it mounted?) that you may write to.',
    exit: 'refused',
  },
  TARGET_INSIDE_SOURCE: {
    message: 'the target {folder} is, or lies in, the folder {source} that disk {disk} is to leave',
    remedy: 'Give a folder outside of the source.',
    exit: 'refused',
  },
  TARGET_NAME_TAKEN: {
    message: 'the target has a file {path} already',
    remedy: 'Move it away or give another folder. blockferry never overwrites a file.',
    exit: 'refused',
  },
  TARGET_NAME_CLASH: {
    message: 'two images would get the same name {path}: {first} and {second}',
    remedy: 'Give the disks folders of their own: --disk ID=DIR.',
    exit: 'refused',
  },
  TARGET_NOT_OPENABLE: {
    message: "the VM's QEMU cannot open files in {folder}: {reason}",
    remedy: 'Let the user that QEMU runs as reach the folder (permissions of each folder above it, AppArmor, SELinux).',
    exit: 'refused',
  },
  SPACE_TOO_LITTLE: {
    message: 'too little space on the storage of {folder}: about {needed} are needed, {free} are free',
    remedy: 'Make room, choose another target, or move fewer disks (--disk).',
    exit: 'refused',
  },
  VM_HAS_JOB: {
    message: '{vm} has an unfinished block job: {jobs}',
    remedy: 'Let it end, or cancel it, then try again.',
    exit: 'refused',
  },
  VM_IS_MIGRATING: {
    message: '{vm} is being migrated to another host (status {status})',
    remedy: 'Let the migration end, then try again where the VM is then.',
    exit: 'refused',
  },

  // ---- journal ------------------------------------------------------------------------------------------------
  JOURNAL_UNAVAILABLE: {
    message: "the journal '{path}' cannot be used: {reason}",
    remedy: 'Check the state directory (`--state-dir`, BLOCKFERRY_STATE_DIR), its permissions and its file system.',
    exit: 'failed',
  },
  JOURNAL_UNSAFE: {
    message: "the state directory '{directory}' is not safe: {reason}",
    remedy: 'Make it yours alone (`chown`, `chmod 700`), or choose another with `--state-dir`.',
    exit: 'failed',
  },
  JOURNAL_VERSION: {
    message: "the journal '{path}' has version {found}; this blockferry knows versions up to {known}",
    remedy: 'Use the blockferry that wrote it, or a newer one. The journal was not touched.',
    exit: 'failed',
  },
  JOURNAL_DAMAGED: {
    message: "the journal '{path}' is damaged: {reason}",
    remedy: 'Stop using it, keep a copy, and see docs/errors.md. No decision is taken from a damaged journal.',
    exit: 'attention',
  },
  JOURNAL_WRITE: {
    message: "the journal '{path}' cannot be written ({reason}): nothing of this was recorded",
    remedy: 'Free space or fix the file system of the state directory.',
    exit: 'failed',
  },
  JOURNAL_OUTCOME: {
    message: "the journal '{path}' failed in a commit ({reason}): whether it was recorded is not known",
    remedy: 'Fix the file system of the state directory, then run `blockferry status`.',
    exit: 'attention',
  },
  MIGRATION_EXISTS: {
    message: "virtual machine '{vm}' has an unfinished migration: {id}, {driver}",
    remedy:
      'See `blockferry status {id}`. Where nobody drives it, `blockferry recover {id}` brings it to an end (with `--back`, at the source if that is still possible); where a process does, wait for it, or `blockferry abort {id}`.',
    exit: 'refused',
  },
  MIRRORED_SNAPSHOT: {
    message: "virtual machine '{vm}' has the mirrored snapshot '{snapshot}' (migration {id})",
    remedy:
      'End it first: `blockferry snapshot-delete {vm} {snapshot} --mirror-pivot` takes the VM over to the mirrors, `--mirror-abort` leaves it where it is.',
    exit: 'refused',
  },
  SNAPSHOT_REFUSED: {
    message: 'the snapshot of {vm} is refused, and nothing was touched: {reasons}',
    remedy: 'Each reason says what can be done about it. A disk is left out with --diskspec DISK,snapshot=no.',
    exit: 'refused',
  },
  SNAPSHOT_UNFINISHED: {
    message:
      "virtual machine '{vm}' has an unfinished snapshot, '{snapshot}': it is being taken, or whoever took it died",
    remedy:
      'Wait until it is taken. Where nobody takes it any more, `blockferry recover` or any snapshot command of this VM finds out what became of it.',
    exit: 'refused',
  },
  AGENT_MISSING: {
    message: "virtual machine '{vm}' has no port for a guest agent",
    remedy:
      'Give it one (a virtserialport of the name org.qemu.guest_agent.0 on a unix socket) and the guest qemu-guest-agent; or leave out --quiesce.',
    exit: 'refused',
  },
  AGENT_UNRESPONSIVE: {
    message: "the guest agent of '{vm}' does not answer: {reason}",
    remedy: 'See that qemu-guest-agent runs in the guest and that nobody else has its socket; or leave out --quiesce.',
    exit: 'refused',
  },
  AGENT_REFUSED: {
    message: "the guest agent of '{vm}' refused '{command}': {reason}",
    remedy: 'The reason is the agent’s own; its log in the guest may say more. Or leave out --quiesce.',
    exit: 'refused',
  },
  GUEST_FROZEN: {
    message: "the file systems of the guest of '{vm}' are frozen already, and not by blockferry",
    remedy: 'Whoever froze them, a backup perhaps, thaws them; then try again. By hand: {command}',
    exit: 'refused',
  },
  GUEST_NOT_THAWED: {
    message: "the file systems of the guest of '{vm}' may still be frozen: {reason} (by hand: {command})",
    remedy:
      'What writes in the guest stands still while they are. `blockferry recover` tries again, and so does the next snapshot command of this VM.',
    exit: 'attention',
  },
  SNAPSHOT_IN_DOUBT: {
    message: "whether the snapshot '{snapshot}' of '{vm}' was taken cannot be found out now: {reason}",
    remedy:
      'The guest goes on, with its data whole. Try again (`blockferry recover`) when what is named is out of the way; do not start the VM anew before.',
    exit: 'attention',
  },
  NO_SUCH_MIGRATION: {
    message: "the journal in '{directory}' has no migration '{id}'",
    remedy: 'See `blockferry list`.',
    exit: 'usage',
  },
  AMBIGUOUS_MIGRATION: {
    message: "'{id}' is the beginning of several migrations: {ids}",
    remedy: 'Give more of the id.',
    exit: 'usage',
  },
  LEDGER_TAKEN: {
    message: "the {kind} '{name}' belongs to the unfinished migration {other}",
    remedy: 'Choose another target, or finish that migration first.',
    exit: 'refused',
  },
  OWNER_LOST: {
    message: 'the process that drives migration {id} went away before it answered',
    remedy: 'See `blockferry status {id}`. What was asked for may or may not have been done.',
    exit: 'failed',
  },
  CONTROL_SOCKET: {
    message: 'the control socket of migration {id} cannot be used: {reason}',
    remedy: 'Only the user who runs the migration and root can use it. Check the state directory.',
    exit: 'failed',
  },
  // ---- migration: a step fails ---------------------------------------------------------------------------------
  STEP_NOT_CONFIRMED: {
    message: 'disk {disk}: after {step}, {what}',
    remedy: '`blockferry status` shows what the VM runs on; nothing further was done on the strength of this step.',
    exit: 'attention',
  },
  MIRROR_FAILED: {
    message: 'disk {disk}: mirroring to {target} failed: {reason}',
    remedy:
      'The guest goes on at the source. Look into the target storage (space, errors, permissions), then try again.',
    exit: 'rolledBack',
  },
  DISK_CHANGED: {
    message: 'disk {disk}: {what}',
    remedy:
      'Every acknowledged write of the disk is in its image at the source. Plug it in again, or end what changed it, then migrate again (`--disk` names the disks that are to move).',
    exit: 'rolledBack',
  },
  TARGET_CHANGED: {
    message: "the file '{path}' {what}: somebody else has been at the target",
    remedy: 'The guest goes on at the source. Find out who removes or replaces files there, then migrate again.',
    exit: 'rolledBack',
  },
  FOLD_FAILED: {
    message: 'disk {disk}: folding its overlay failed: {reason}',
    remedy: 'No write is lost: the overlay stays in use. Look into the storage, then `blockferry resume`.',
    exit: 'attention',
  },
  SPACE_RUNS_OUT: {
    message: 'only {free} are left on the storage of {folder}, less than the {reserve} that are kept for the guest',
    remedy: 'Make room there, or move fewer disks at a time (--disk).',
    exit: 'rolledBack',
  },
  STORAGE_FAILED: {
    message: 'a storage does not do what is asked of it: {reason}',
    remedy: 'Look into that storage (space, errors, is it mounted and writable?), then `blockferry resume`.',
    exit: 'attention',
  },
  STORAGE_HANGS: {
    message: 'the storage of {path} does not answer, neither with data nor with an error',
    remedy:
      'Nothing more was asked of it. When it answers again, or gives errors because its server was ended: `blockferry resume {id}`.',
    exit: 'attention',
  },
  ROLLED_BACK: {
    message: 'the migration {id} of {vm} was rolled back: {reason}',
    remedy: 'The guest goes on at the source as before, and nothing is left over. Mend the cause and migrate again.',
    exit: 'rolledBack',
  },
  NEEDS_ATTENTION: {
    message: 'the migration {id} of {vm} is unfinished: {reason}',
    remedy: '{next}',
    exit: 'attention',
  },
  // ---- vm ------------------------------------------------------------------------------------------------------
  VM_PROCESS_UNKNOWN: {
    message: 'the process that listens on {address} is not to be found on this host: {reason}',
    remedy: "Run blockferry on the VM's host, as root or as the user that QEMU runs as.",
    exit: 'failed',
  },
  VM_ENDED: {
    message: '{vm} has ended while its disks were being moved: its guest was shut down, or QEMU was killed',
    remedy: 'Do not start it before `blockferry recover {id}`, which says where its newest data is.',
    exit: 'attention',
  },
  VM_REPLACED: {
    message: '{vm} at {address} is another QEMU process than the one that this migration began with',
    remedy: 'Nothing was done to the new process. `blockferry status` shows where the disks of the old one are.',
    exit: 'attention',
  },
  HOLD_FAILED: {
    message: 'the swap was given up before its commit record: {jobs}: {reason}',
    remedy:
      'The guest goes on where it was. Look into the storage, then try again; a slow one may need a longer --max-hold.',
    exit: 'rolledBack',
  },
  JOB_UNRECORDED: {
    message:
      'whether {disk} of {vm} runs on {from} or on {to} is not certain: libvirtd ended while a block job began or ended, and does not know',
    remedy:
      'Both files hold the same if the VM stands still (`virsh domstate`): then do not let it go on, but end it (`virsh destroy`). If it runs, shut it down from within. Do nothing to its disks through libvirt. Then `blockferry recover` brings them to where they belong, with every acknowledged write.',
    exit: 'attention',
  },
  NOT_TAKEN_BACK: {
    message:
      '{disk} of {vm} has gone over to {to} without a commit record, and could not be taken back to {from}: {reason}',
    remedy:
      'The VM stands still, and both files hold the same: do not let it go on (`virsh resume`). `blockferry recover` tries it again. If that does not help, end the VM (`virsh destroy`); then `blockferry recover` brings its disks to where they were, with every acknowledged write.',
    exit: 'attention',
  },
  SNAPSHOT_UNRECORDED: {
    message:
      'the QEMU of {vm} has {path} open, and libvirt does not know of it: libvirtd ended while it took the snapshot',
    remedy:
      'The guest goes on, and its newest data may be in that file alone: leave it where it is, and do nothing to the disks through libvirt. Shut the VM down from within, or end it where it stands suspended (`virsh destroy`); then `blockferry recover` merges the file into the image below.',
    exit: 'attention',
  },
  START_FAILED: {
    message: 'the mirrors were given up: {jobs} did not begin within {ms} ms, for which the VM stood still',
    remedy:
      'The guest goes on at the source. Look into the target, then try again; a slow one may need a longer --max-hold.',
    exit: 'rolledBack',
  },
  SWAP_FAILED: {
    message: 'the job {job} ended with an error after it was finalized: {reason}',
    remedy: 'Look at what the VM runs on (`blockferry status`) before anything else is done.',
    exit: 'attention',
  },
  MIGRATION_OWNED: {
    message: 'another process drives the migration {id}',
    remedy: '`blockferry status {id}` shows how far it is; `abort`, `pause` and `set-speed` reach that process.',
    exit: 'failed',
  },
  MIGRATION_FINISHED: {
    message: 'the migration {id} is finished ({state})',
    remedy: 'Nothing is left to do. `blockferry status {id}` shows what became of it.',
    exit: 'failed',
  },
  TOO_LATE: {
    message: 'the migration {id} cannot be aborted: its disks have been swapped, and the guest runs on the target',
    remedy:
      'Let it finish (`blockferry resume {id}` where nobody drives it). To go back, migrate the disks to the old folder.',
    exit: 'failed',
  },

  // ---- domainsnapshot and `blockferry xml` --------------------------------------------------------------------
  SCHEMA_MISSING: {
    message: "libvirt's schema {path} cannot be read: {reason}",
    remedy: 'Install the package that has it (Debian: libvirt0), or name its folder (`--schema-dir`).',
    exit: 'failed',
  },
  SCHEMA_UNKNOWN: {
    message: "{path} is not a schema of libvirt's that mirrors can be put into: {reason}",
    remedy: 'Name a folder with the schemas of a released libvirt (`--schema-dir`); 9.0 and 11.3 are known to work.',
    exit: 'failed',
  },
  BAD_DISKSPEC: {
    message: '{reason}',
    remedy: 'Write NAME[,snapshot=MODE][,driver=FORMAT][,stype=file|block][,file=PATH][,mirror=PATH]; `,,` is a comma.',
    exit: 'usage',
  },
  BAD_MEMSPEC: {
    message: '{reason}',
    remedy: 'Write [file=]PATH[,snapshot=MODE]; `,,` is a comma.',
    exit: 'usage',
  },
  XML_FILE: {
    message: "'{path}' cannot be read: {reason}",
    remedy: 'Name a file that exists and is readable, or `-` for standard input.',
    exit: 'failed',
  },
  XML_REFUSED: {
    message: '{path}:{line}: {message}',
    remedy: "Correct the document: the message is libvirt's. docs/domainsnapshot.md explains each.",
    exit: 'refused',
  },

  // ---- the command line -----------------------------------------------------------------------------------------
  USAGE: {
    message: '{what}',
    remedy: '`blockferry help` lists the commands, `blockferry help COMMAND` the options of one.',
    exit: 'usage',
  },
  NOT_CONFIRMED: {
    message: 'the migration was not begun: {why}',
    remedy: 'Answer y, or give --yes. Nothing was touched.',
    exit: 'usage',
  },
  NO_SUCH_VM: {
    message: "no VM on this host has the name or UUID '{vm}'; there are: {vms}",
    remedy: 'Name one as `blockferry discover` shows it, or give its QMP socket with --qmp.',
    exit: 'usage',
  },
  AMBIGUOUS_VM: {
    message: "several VMs on this host have the name or UUID '{vm}': {vms}",
    remedy: 'Name it by its UUID, or give its QMP socket with --qmp.',
    exit: 'usage',
  },
  VM_NO_MONITOR: {
    message: '{vm} (pid {pid}) has no QMP socket that blockferry can use: {reason}',
    remedy: 'Start it with `-qmp unix:PATH,server=on,wait=off`; or run blockferry as root, which sees every socket.',
    exit: 'refused',
  },
  VM_HAS_OBSTACLES: {
    message: '{vm} cannot be moved as it is: {what}',
    remedy:
      'Remove what is named (`snapshot-delete VM NAME --metadata` of blockferry or virsh, `virsh checkpoint-delete`), or wait until its owner is done with it.',
    exit: 'refused',
  },
  VM_NOT_RUNNING: {
    message: '{vm} does not run',
    remedy: 'Only running VMs are moved. Start it, or copy its images while it is off.',
    exit: 'refused',
  },
  VM_FORGOTTEN: {
    message: '{uri} does not know that {vm} runs, but its QEMU does (pid {pid})',
    remedy:
      'Do not start it. If another libvirt runs it, name that one (--connect). Otherwise libvirt has lost it: shut the VM down from within, or end that process; then `blockferry recover` brings its disks to where it can be started from.',
    exit: 'attention',
  },
  VM_OF_LIBVIRT: {
    message: '{vm} (pid {pid}) is managed by libvirt, which has to know of every change to its disks',
    remedy: 'Name the VM instead of its monitor: it is then moved through libvirt (--connect says which, as in virsh).',
    exit: 'refused',
  },
  VM_GONE: {
    message: 'the VM {vm} of migration {id} cannot be reached at {address}: {reason}',
    remedy:
      '{truth} `blockferry status {id}` lists the files. If the VM still runs, free its monitor and try again; if it has ended, start it from those images only.',
    exit: 'attention',
  },
  NO_OWNER: {
    message: 'nobody drives the migration {id}, so there is nobody to ask for {command}',
    remedy: '`blockferry resume {id}` goes on with it, `blockferry abort {id}` rolls it back.',
    exit: 'failed',
  },
  STALE_START: {
    message:
      '{vm} went on from old data: {image} was written to since the snapshot, but the newest data of the old run is in {overlay}; nothing was merged, and both are kept',
    remedy:
      'Choose one for each disk. To go on with what is in {image}: `rm {overlay}`. To have the data of the old run: stop the VM, `qemu-img commit -d {overlay}`, `rm {overlay}`, and check the file system, as the image has changed below it. Then `blockferry recover {id}`.',
    exit: 'attention',
  },
  IMAGE_HIDDEN: {
    message:
      'recovery has given the image {path} the name {hidden} while it merges into it, and somebody has put another file in its place',
    remedy:
      "Move the other file away (a VM that was started from it has none of the disk's data), then run the same command again.",
    exit: 'attention',
  },
  STORAGE_MISSING: {
    message: 'disk {disk}: {path}, which is part of its newest data, is not there; nothing was touched',
    remedy: 'Mount its storage, then run the same command again. Do not start the VM before.',
    exit: 'attention',
  },
  OTHER_HOST: {
    message:
      'migration {id} of {vm} began on a host named {host}, and this one is named {here}: whether its QEMU still runs cannot be told from here',
    remedy:
      "Recover it on {host}. If it is this host that had that name: `unshare --uts sh -c 'hostname {host} && blockferry recover {id}'`.",
    exit: 'attention',
  },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** Every entry has this shape; the assignment is checked by the compiler. */
export const ERROR_ENTRIES: { readonly [C in ErrorCode]: Entry } = ERRORS;

type FieldsOf<S extends string> = S extends `${string}{${infer Field}}${infer Rest}` ? Field | FieldsOf<Rest> : never;

/** The details that an error needs: one for each `{field}` in its message and its remedy. */
export type ErrorFields<C extends ErrorCode> = {
  readonly [K in FieldsOf<(typeof ERRORS)[C]['message']> | FieldsOf<(typeof ERRORS)[C]['remedy']>]: string | number;
};
