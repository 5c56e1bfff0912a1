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
  /** Style blockdev: files are nodes of their own, with names (`file-ID`, below it `file-ID-N`), and not inline. */
  readonly separateFileNode?: boolean;
  readonly discard?: 'unmap' | 'ignore';
  /** `none` goes past the host's page cache; default: QEMU's `writeback`. */
  readonly cache?: 'none' | 'writeback';
  /** Style blockdev: each write of the guest fails with an I/O error (QEMU's blkdebug). */
  readonly failWrites?: boolean;
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
  /** The file that is the VM's memory: mapped privately by a VM that goes on from a saved guest, else shared. */
  readonly memoryFile?: { readonly path: string; readonly saved: boolean };
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

/** The node name of a disk's active image in style blockdev; `base-ID-1`, … are those of an explicit chain below. */
export function nodeOf(disk: LabDisk): string {
  return `node-${disk.id}`;
}

/** A node above a file: reads pass, and each write fails with EIO. */
function failingWrites(file: object | string): object {
  return { driver: 'blkdebug', image: file, 'inject-error': [{ event: 'none', iotype: 'write', errno: 5 }] };
}

/** The nodes of one disk: the chain below, the deepest image first, and the active image. */
function blockdevArgs(disk: LabDisk, path: string, backing: readonly ChainImage[]): string[] {
  const nodes: object[] = [];
  const discard = disk.discard === undefined ? {} : { discard: disk.discard };
  const cache = disk.cache === 'none' ? { cache: { direct: true } } : {};
  const add = (image: ChainImage, name: string, fileName: string, options: object): void => {
    const file = { driver: 'file', filename: image.path, ...options };
    if (disk.separateFileNode) nodes.push({ ...file, 'node-name': fileName });
    const child = disk.separateFileNode ? fileName : file;
    const checked = disk.failWrites && name === nodeOf(disk) ? failingWrites(child) : child;
    nodes.push({ driver: image.format, 'node-name': name, ...options, file: checked, ...below(name, image) });
  };
  // What is below a node: said only where the chain is explicit, else QEMU follows the image's own header.
  const names = [nodeOf(disk), ...backing.map((_, index) => `base-${disk.id}-${index + 1}`)];
  const below = (name: string, image: ChainImage): object => {
    if (!disk.explicitChain || image.format === 'raw') return {};
    return { backing: names[names.indexOf(name) + 1] ?? null };
  };
  backing.toReversed().forEach((image, index) => {
    const depth = backing.length - index;
    add(image, `base-${disk.id}-${depth}`, `file-${disk.id}-${depth}`, { 'read-only': true });
  });
  const readOnly = disk.readOnly ?? disk.cdrom ?? false;
  add({ path, format: disk.format ?? 'raw' }, nodeOf(disk), `file-${disk.id}`, {
    'read-only': readOnly,
    ...discard,
    ...cache,
  });
  return nodes.flatMap((node) => ['-blockdev', JSON.stringify(node)]);
}

function driveArgs(disk: LabDisk, path: string): string[] {
  const options = [
    `file=${escapeValue(path)}`,
    `format=${disk.format ?? 'raw'}`,
    'if=none',
    `id=drive-${disk.id}`,
    ...((disk.readOnly ?? disk.cdrom) ? ['readonly=on'] : []),
    ...(disk.discard === undefined ? [] : [`discard=${disk.discard}`]),
    ...(disk.cache === undefined ? [] : [`cache=${disk.cache}`]),
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

function portArgs(name: string, chardev: string): string[] {
  return ['-device', `virtserialport,chardev=${chardev},name=${name}`];
}

/** What the guest's kernel and its init are told. */
export function kernelCommandLine(writers: number): string {
  const kernel = 'console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on no_timer_check';
  return `${kernel} blockferry.ports=${1 + writers}`;
}

function guestArgs(guest: NonNullable<CommandLineOptions['guest']>): string[] {
  const args = ['-kernel', guest.kernel, '-initrd', guest.initramfs];
  args.push('-append', kernelCommandLine(guest.writers.length));
  args.push('-chardev', `file,id=console,path=${escapeValue(guest.console)}`, '-serial', 'chardev:console');
  args.push('-device', 'virtio-serial-pci,id=channels');
  args.push('-chardev', `socket,id=agent,path=${escapeValue(guest.agent)},server=on,wait=off`);
  args.push(...portArgs('blockferry.agent', 'agent'));
  guest.writers.forEach((file, index) => {
    args.push(
      '-chardev',
      `file,id=writer${index},path=${escapeValue(file)}`,
      ...portArgs(`blockferry.writer${index}`, `writer${index}`),
    );
  });
  return args;
}

/** The arguments of the emulator for a lab VM. */
export function vmArguments(options: CommandLineOptions): string[] {
  const args = ['-name', `guest=${escapeValue(options.name)}`];
  if (options.uuid !== undefined) args.push('-uuid', options.uuid);
  const { memoryFile: file } = options;
  if (file) {
    const map = `share=${file.saved ? 'off' : 'on'}`;
    args.push(
      '-object',
      `memory-backend-file,id=ram,size=${options.memory}M,mem-path=${escapeValue(file.path)},${map}`,
    );
    if (file.saved) args.push('-incoming', 'defer');
  }
  // Without rdrand the guest waits a second for its random numbers (perl asks for some).
  args.push(
    '-machine',
    file ? 'pc,memory-backend=ram' : 'pc',
    '-accel',
    options.accelerator,
    '-cpu',
    'qemu64,+rdrand',
    '-m',
    String(options.memory),
    '-smp',
    '1',
  );
  args.push('-nodefaults', '-display', 'none', '-no-reboot');
  for (const path of options.monitors) args.push('-qmp', `unix:${escapeValue(path)},server=on,wait=off`);
  for (const iothread of new Set(options.disks.flatMap((disk) => disk.iothread ?? []))) {
    args.push('-object', `iothread,id=${iothread}`);
  }
  for (const disk of options.disks) {
    if (disk.path !== undefined) {
      if (options.style === 'drive') args.push(...driveArgs(disk, disk.path));
      else args.push(...blockdevArgs(disk, disk.path, options.backing.get(disk.id) ?? []));
    }
    args.push(...deviceArgs(disk, options.style));
  }
  if (options.guest) args.push(...guestArgs(options.guest));
  return [...args, ...options.extraArgs];
}
