/** A disk of a lab VM. */
export interface LabDisk {
  /** The id of the disk's device: a letter, then letters, digits, `-`, `.`, `_`. */
  readonly id: string;
  /** The active image; left out for an empty CD-ROM drive. */
  readonly path?: string;
  readonly format?: 'raw' | 'qcow2';
  readonly readOnly?: boolean;
  /** Several VMs may write to it (`share-rw`). */
  readonly shareable?: boolean;
  /** What the guest sees, at most 20 bytes; default: `id`. */
  readonly serial?: string;
  /** The id of an iothread, which is made when a disk names it first. */
  readonly iothread?: string;
  /** A CD-ROM drive (removable) on the IDE controller instead of a virtio disk. The guest has no driver for it. */
  readonly cdrom?: boolean;
  /** Style blockdev: the images of the chain below are nodes of their own, with names, as libvirt starts a VM. */
  readonly explicitChain?: boolean;
  /** Style blockdev: the file is a node of its own with a name, and not inline. */
  readonly separateFileNode?: boolean;
  readonly discard?: 'unmap' | 'ignore';
}

/** How the images are given to QEMU: nodes with names, or `-drive`, where QEMU names the nodes itself (`#block123`). */
export type DiskStyle = 'blockdev' | 'drive';

/** One image of a chain. */
export interface ChainImage {
  readonly path: string;
  readonly format: string;
}

export interface CommandLineOptions {
  readonly name: string;
  readonly uuid?: string;
  readonly style: DiskStyle;
  readonly disks: readonly LabDisk[];
  /** For each disk with `explicitChain`, the images below its active one, nearest first. */
  readonly backing: ReadonlyMap<string, readonly ChainImage[]>;
  /** MiB */
  readonly memory: number;
  readonly accelerator: 'tcg' | 'kvm';
  /** Socket paths. */
  readonly monitors: readonly string[];
  readonly guest?: {
    readonly kernel: string;
    readonly initramfs: string;
    /** A file that takes what the kernel prints. */
    readonly console: string;
    /** The socket of the command channel. */
    readonly agent: string;
    /** A file for each recording writer that may run, which takes its reports. */
    readonly writers: readonly string[];
  };
  readonly extraArgs: readonly string[];
}

/** A comma ends a value on QEMU's command line, unless it is doubled. */
export function escapeValue(value: string): string {
  return value.replaceAll(',', ',,');
}

/** The serial number of a disk, as the guest sees it. */
export function serialOf(disk: LabDisk): string {
  return disk.serial ?? disk.id;
}

/** The node name of a disk's active image in style blockdev; `file-ID` is its file, `base-ID-N` the images below. */
export function nodeOf(disk: LabDisk): string {
  return `node-${disk.id}`;
}

function fileNode(path: string, discard: string | undefined): Record<string, unknown> {
  return { driver: 'file', filename: path, ...(discard === undefined ? {} : { discard }) };
}

function blockdevArgs(disk: LabDisk, path: string, backing: readonly ChainImage[] | undefined): string[] {
  const nodes: object[] = [];
  const chain = [...(backing ?? [])].reverse();
  chain.forEach((image, index) => {
    const depth = chain.length - index;
    const below =
      index === 0 ? (image.format === 'raw' ? {} : { backing: null }) : { backing: `base-${disk.id}-${depth + 1}` };
    const name = { 'node-name': `base-${disk.id}-${depth}`, 'read-only': true };
    nodes.push({ driver: image.format, ...name, file: fileNode(image.path, undefined), ...below });
  });
  const common = { 'read-only': disk.readOnly ?? disk.cdrom ?? false };
  let file: object | string = fileNode(path, disk.discard);
  if (disk.separateFileNode) {
    nodes.push({ ...file, ...common, 'node-name': `file-${disk.id}` });
    file = `file-${disk.id}`;
  }
  nodes.push({
    driver: disk.format,
    'node-name': nodeOf(disk),
    ...common,
    file,
    ...(disk.discard === undefined ? {} : { discard: disk.discard }),
    ...(chain.length > 0 ? { backing: `base-${disk.id}-1` } : {}),
  });
  return nodes.flatMap((node) => ['-blockdev', JSON.stringify(node)]);
}

function driveArgs(disk: LabDisk, path: string): string[] {
  const options = [
    `file=${escapeValue(path)}`,
    `format=${disk.format}`,
    'if=none',
    `id=drive-${disk.id}`,
    ...((disk.readOnly ?? disk.cdrom) ? ['readonly=on'] : []),
    ...(disk.discard === undefined ? [] : [`discard=${disk.discard}`]),
  ];
  return ['-drive', options.join(',')];
}

function deviceArgs(disk: LabDisk, style: DiskStyle): string[] {
  const drive = disk.path === undefined ? [] : [`drive=${style === 'blockdev' ? nodeOf(disk) : `drive-${disk.id}`}`];
  const options = disk.cdrom
    ? ['ide-cd', `id=${disk.id}`, ...drive]
    : [
        'virtio-blk-pci',
        `id=${disk.id}`,
        ...drive,
        `serial=${escapeValue(serialOf(disk))}`,
        ...(disk.iothread === undefined ? [] : [`iothread=${disk.iothread}`]),
        ...(disk.shareable ? ['share-rw=on'] : []),
      ];
  return ['-device', options.join(',')];
}

function guestArgs(guest: NonNullable<CommandLineOptions['guest']>): string[] {
  const port = (name: string, chardev: string): string[] => [
    '-device',
    `virtserialport,chardev=${chardev},name=${name}`,
  ];
  const args = ['-kernel', guest.kernel, '-initrd', guest.initramfs];
  args.push('-append', 'console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on');
  args.push('-chardev', `file,id=console,path=${escapeValue(guest.console)}`, '-serial', 'chardev:console');
  args.push('-device', 'virtio-serial-pci,id=channels');
  args.push('-chardev', `socket,id=agent,path=${escapeValue(guest.agent)},server=on,wait=off`);
  args.push(...port('blockferry.agent', 'agent'));
  guest.writers.forEach((file, index) => {
    args.push(
      '-chardev',
      `file,id=writer${index},path=${escapeValue(file)}`,
      ...port(`blockferry.writer${index}`, `writer${index}`),
    );
  });
  return args;
}

/** The arguments of the emulator for a lab VM. */
export function vmArguments(options: CommandLineOptions): string[] {
  const args = ['-name', `guest=${escapeValue(options.name)}`];
  if (options.uuid !== undefined) args.push('-uuid', options.uuid);
  args.push('-machine', 'pc', '-accel', options.accelerator, '-m', String(options.memory), '-smp', '1');
  args.push('-nodefaults', '-display', 'none', '-no-reboot');
  for (const path of options.monitors) args.push('-qmp', `unix:${escapeValue(path)},server=on,wait=off`);
  for (const iothread of new Set(options.disks.flatMap((disk) => disk.iothread ?? []))) {
    args.push('-object', `iothread,id=${iothread}`);
  }
  for (const disk of options.disks) {
    if (disk.path !== undefined) {
      if (options.style === 'drive') args.push(...driveArgs(disk, disk.path));
      else args.push(...blockdevArgs(disk, disk.path, options.backing.get(disk.id)));
    }
    args.push(...deviceArgs(disk, options.style));
  }
  if (options.guest) args.push(...guestArgs(options.guest));
  return [...args, ...options.extraArgs];
}
