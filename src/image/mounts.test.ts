import { expect, test } from 'vitest';
import { parseMounts, readMounts } from './mounts.ts';

const TEXT = String.raw`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /srv rw,relatime shared:9 - nfs4 server:/export rw
31 30 0:27 /sub /srv/two\040words rw - fuse.x none rw
32 22 0:28 / /srv/over rw - tmpfs none rw
33 32 0:29 / /srv/over rw - tmpfs none rw
`;

test.each([
  ['/srv/image', '0:26'],
  ['/srv', '0:26'],
  ['/srvice/image', '254:0'],
  ['/srv/two words/image', '0:27'],
  ['/srv/over/image', '0:29'],
  ['/', '254:0'],
])('%s is on %s', (path, device) => {
  expect(parseMounts(TEXT).deviceOf(path)).toBe(device);
});

test('what this process has mounted is read', async () => {
  expect((await readMounts()).deviceOf('/proc/self/status')).toMatch(/^0:\d+$/);
});
