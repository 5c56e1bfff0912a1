import { basename } from 'node:path';
import { parseOptionList } from './option-list.ts';

/** Where a QMP monitor listens, as the command line says it. */
export type DeclaredSocket =
  /** The path as it stands there, perhaps relative. */
  | { readonly kind: 'unix'; readonly path: string }
  /** An empty host is any address. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** A descriptor that was listening when QEMU was started: libvirt does that. */
  | { readonly kind: 'fd'; readonly fd: number };

export interface DeclaredMonitor {
  readonly socket: DeclaredSocket;
  /** The id of the `-chardev`; empty for `-qmp`. libvirt calls its own `charmonitor`. */
  readonly chardev: string;
}

export interface StartOptions {
  readonly name?: string;
  /** Lower case. */
  readonly uuid?: string;
  readonly monitors: readonly DeclaredMonitor[];
}

/** Reads name, uuid and QMP server sockets from QEMU's argv (`-qmp`, `-qmp-pretty`, `-mon` with `-chardev`). */
export function parseStartOptions(argv: readonly string[]): StartOptions {
  let name: string | undefined;
  let uuid: string | undefined;
  const chardevs = new Map<string, DeclaredSocket>();
  const monitors: { readonly text: string; readonly chardev?: string }[] = [];
  for (const [option, value] of optionsOf(argv)) {
    switch (option) {
      case 'name':
        name = parseOptionList(value, 'guest').get('guest') ?? name;
        break;
      case 'uuid':
        uuid = value.toLowerCase();
        break;
      case 'chardev': {
        const options = parseOptionList(value, 'backend');
        const socket = options.get('backend') === 'socket' ? socketOf(options) : undefined;
        if (socket) chardevs.set(options.get('id') ?? '', socket);
        break;
      }
      case 'mon': {
        const options = parseOptionList(value, 'chardev');
        if (options.get('mode') === 'control') monitors.push({ text: '', chardev: options.get('chardev') ?? '' });
        break;
      }
      case 'qmp':
      case 'qmp-pretty':
        monitors.push({ text: value, ...(value.startsWith('chardev:') ? { chardev: value.slice(8) } : {}) });
        break;
      default:
    }
  }
  const declared = monitors.flatMap(({ text, chardev }) => {
    const socket = chardev === undefined ? legacySocket(text) : chardevs.get(chardev);
    return socket ? [{ socket, chardev: chardev ?? '' }] : [];
  });
  return { ...(name === undefined ? {} : { name }), ...(uuid === undefined ? {} : { uuid }), monitors: declared };
}

/** Each option with the argument after it; QEMU takes one dash or two. */
function* optionsOf(argv: readonly string[]): Generator<readonly [string, string], void> {
  for (const [index, argument] of argv.entries()) {
    const value = argv[index + 1];
    if (value !== undefined && /^--?[a-z]/.test(argument)) yield [argument.replace(/^--?/, ''), value];
  }
}

/** A socket that QEMU listens on; undefined where it connects to somebody else's (`server=off`, the default). */
function socketOf(options: ReadonlyMap<string, string>): DeclaredSocket | undefined {
  if (!['on', 'yes', 'true', 'y'].includes(options.get('server') ?? 'off')) return undefined;
  const path = options.get('path');
  const fd = options.get('fd');
  const port = options.get('port');
  // An abstract socket has no file.
  if (path !== undefined) return options.get('abstract') === 'on' ? undefined : { kind: 'unix', path };
  if (fd !== undefined) return /^\d+$/.test(fd) ? { kind: 'fd', fd: Number(fd) } : undefined;
  if (port !== undefined) return tcp(options.get('host') ?? '', port);
  return undefined;
}

/** The syntax of `-qmp`: `unix:PATH,server=on,wait=off`, `tcp:HOST:PORT,server`. */
function legacySocket(text: string): DeclaredSocket | undefined {
  if (text.startsWith('unix:')) return socketOf(parseOptionList(text.slice(5), 'path'));
  const address = /^tcp:([^:,]*):(\w+)(?:,(.*))?$/.exec(text);
  if (!address) return undefined;
  const [, host = '', port = '', rest = ''] = address;
  return socketOf(new Map([...parseOptionList(rest), ['host', host], ['port', port]]));
}

function tcp(host: string, port: string): DeclaredSocket | undefined {
  return /^\d+$/.test(port) ? { kind: 'tcp', host, port: Number(port) } : undefined;
}

const QEMU_NAME = /^(?:qemu-system-.+|qemu-kvm|kvm)$/;

function isQemuName(path: string): boolean {
  return QEMU_NAME.test(basename(path.replace(/ \(deleted\)$/, '')));
}

/**
 * Whether a process is a QEMU system emulator: by the name of its program, or, for a program with another name, by
 * arguments that only QEMU takes. A wrapper that names QEMU among its arguments (sudo, strace) is not.
 * @param exe where /proc/PID/exe points, or undefined where that may not be read
 */
export function isQemu(exe: string | undefined, argv: readonly string[]): boolean {
  const [program = '', ...args] = argv;
  if (exe === undefined ? isQemuName(program) : isQemuName(exe)) return true;
  if (!args[0]?.startsWith('-') || args.some(isQemuName)) return false;
  const has = (...options: readonly string[]): boolean => args.some((arg) => options.includes(arg.replace(/^--/, '-')));
  return has('-machine', '-M', '-nodefaults') && has('-qmp', '-qmp-pretty', '-mon', '-drive', '-blockdev', '-device');
}
