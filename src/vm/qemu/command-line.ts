import type { NodeSettings } from '../inventory.ts';
import { parseOptionList } from './option-list.ts';

/** What a VM's command line says of its nodes and QMP does not: `discard` and `aio`, by node-name and by drive id. */
export type StartSettings = ReadonlyMap<string, Pick<NodeSettings, 'discard' | 'aio'>>;

/**
 * Reads the `-blockdev` and `-drive` options of a QEMU command line. QMP shows neither a node's `discard` nor its `aio`,
 * and a node that takes another's place has to keep them.
 * @param argv the arguments as in /proc/PID/cmdline
 */
export function startSettings(argv: readonly string[]): StartSettings {
  const settings = new Map<string, Pick<NodeSettings, 'discard' | 'aio'>>();
  // A format node inherits nothing that can be seen from the file node below it: `aio` is set there, `discard` on both.
  const files = new Map<string, Pick<NodeSettings, 'discard' | 'aio'>>();
  for (const [index, argument] of argv.entries()) {
    const value = argv[index + 1];
    if (value === undefined || !/^--?(blockdev|drive)$/.test(argument)) continue;
    const options = value.trimStart().startsWith('{') ? flatJson(value) : parseOptionList(value);
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
