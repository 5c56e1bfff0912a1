import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StorageDaemon } from './storage-daemon.ts';

/** A monitor whose first connection is never greeted: what a busy host makes of QEMU's own once in some thousand starts. */
const FAKE = String.raw`#!/usr/bin/perl
use IO::Socket::UNIX;
my %option = @ARGV;
my ($path) = $option{'--chardev'} =~ /path=([^,]*)/;
my $server = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die;
open(my $pid, '>', $option{'--pidfile'}); print $pid $$; close $pid;
my $lost = $server->accept;
my $client = $server->accept; $client->autoflush(1);
print $client '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}', "\r\n";
while (<$client>) {
  my ($id) = /"id":\s*("[^"]*"|\d+)/;
  print $client qq({"return": {}, "id": $id}\r\n);
  exit if /"quit"/;
}
`;

test('a greeting that is lost is asked for again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fake-daemon-'));
  const program = join(folder, 'qemu-storage-daemon');
  await writeFile(program, FAKE);
  await chmod(program, 0o755);
  const before = process.env['QEMU_STORAGE_DAEMON'];
  process.env['QEMU_STORAGE_DAEMON'] = program;
  try {
    await using daemon = await StorageDaemon.start();
    expect(daemon.qmp.state).not.toBe('closed');
  } finally {
    if (before === undefined) delete process.env['QEMU_STORAGE_DAEMON'];
    else process.env['QEMU_STORAGE_DAEMON'] = before;
    await rm(folder, { recursive: true });
  }
});
