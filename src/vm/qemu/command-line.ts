import type { NodeSettings } from '../inventory.ts';
import { parseOptionList } from './option-list.ts';

/**
 * What a VM's command line says of its nodes and QMP does not: `discard` and `aio`, by node-name, by drive id, and by
 * `deviceKey` of the device that was started on one of these.
 */
export type StartSettings = ReadonlyMap<string, Pick<NodeSettings, 'discard' | 'aio'>>;

/** Where the settings of the node or drive that a device was started with are found. No node-name has a colon. */
export function deviceKey(id: string): string {
  return `device:${id}`;
}

/**
 * Reads the `-blockdev`, `-drive` and `-device` options of a QEMU command line. QMP shows neither a node's `discard` nor its `aio`,
 * and a node that takes another's place has to keep them.
 * @param argv the arguments as in /proc/PID/cmdline
 */
export function startSettings(argv: readonly string[]): StartSettings {
  const settings = new Map<string, Pick<NodeSettings, 'discard' | 'aio'>>();
  // A format node inherits nothing that can be seen from the file node below it: `aio` is set there, `discard` on both.
  const files = new Map<string, Pick<NodeSettings, 'discard' | 'aio'>>();
  const devices = new Map<string, string>();
  for (const [index, argument] of argv.entries()) {
    const value = argv[index + 1];
    const [, kind] = /^--?(blockdev|drive|device)$/.exec(argument) ?? [];
    if (value === undefined || kind === undefined) continue;
    const options = value.trimStart().startsWith('{') ? flatJson(value) : parseOptionList(value);
    if (kind === 'device') {
      devices.set(options.get('id') ?? '', options.get('drive') ?? '');
      continue;
    }
    const child = files.get(options.get('file') ?? '');
    const found = {
      discard: isUnmap(options.get('discard')) ? ('unmap' as const) : ('ignore' as const),
      ...aioOf(options.get('aio') ?? options.get('file.aio') ?? child?.aio),
    };
    for (const key of ['node-name', 'id', 'file.node-name']) {
      const name = options.get(key);
      if (name !== undefined) settings.set(name, found);
    }
    const node = options.get('node-name');
    if (node !== undefined) files.set(node, found);
  }
  for (const [id, drive] of devices) {
    const found = settings.get(drive);
    if (found !== undefined) settings.set(deviceKey(id), found);
  }
  return settings;
}

function isUnmap(value: string | undefined): boolean {
  return value === 'unmap' || value === 'on';
}

function aioOf(value: string | undefined): Pick<NodeSettings, 'aio'> {
  return value === 'native' || value === 'io_uring' || value === 'threads' ? { aio: value } : {};
}

/** The JSON form of -blockdev, nested objects flattened with dots. */
function flatJson(text: string): Map<string, string> {
  const options = new Map<string, string>();
  const walk = (value: unknown, path: string): void => {
    if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) walk(inner, path === '' ? key : `${path}.${key}`);
    } else {
      options.set(path, String(value));
    }
  };
  try {
    walk(JSON.parse(text), '');
  } catch {
    // QEMU would not have started with it, so it is not an option of ours to read.
  }
  return options;
}
