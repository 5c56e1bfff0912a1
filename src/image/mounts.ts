import { readFile } from 'node:fs/promises';

/** Which file system a path is on, by its name alone: nothing is asked of the file system itself, which may hang. */
export interface Mounts {
  /** The device (`MAJOR:MINOR`) of the mount that an absolute path without symbolic links lies in. */
  deviceOf(path: string): string | undefined;
}

/** What this process has mounted. */
export async function readMounts(): Promise<Mounts> {
  return parseMounts(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** @param text as in /proc/PID/mountinfo: ID, parent, device, root, mount point, … */
export function parseMounts(text: string): Mounts {
  const devices = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, , device, , point] = line.split(' ');
    // A mount hides the one before it at the same place.
    if (device !== undefined && point !== undefined) devices.set(unescaped(point), device);
  }
  return {
    deviceOf: (path) => {
      for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
        const device = devices.get(at);
        if (device !== undefined) return device;
      }
      return devices.get('/');
    },
  };
}

/** Blanks and backslashes are written as `\040`. */
function unescaped(point: string): string {
  return point.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));
}
