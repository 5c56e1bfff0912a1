// Asks a QEMU binary for its schema: a machine without anything, started for this one question.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/base/index.ts';
import { QmpClient } from '../../src/qmp/client.ts';
import type { SchemaEntity } from './schema-types.ts';

export interface InstalledSchema {
  /** `QEMU 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`. */
  readonly version: string;
  readonly schema: readonly SchemaEntity[];
}

export async function installedSchema(binary: string): Promise<InstalledSchema> {
  const directory = await mkdtemp(join(tmpdir(), 'qmp-schema-'));
  const path = join(directory, 'qmp.sock');
  try {
    // With -daemonize the program returns when the monitor listens.
    const machine = ['-machine', 'none', '-nodefaults', '-display', 'none', '-S', '-daemonize'];
    await run(binary, [...machine, '-qmp', `unix:${path},server=on,wait=off`]);
    await using client = await QmpClient.connect({ path });
    const schema = (await client.executeRaw('query-qmp-schema')) as readonly SchemaEntity[];
    await client.executeRaw('quit');
    const { qemu, package: build } = client.greeting.version;
    const version = `QEMU ${qemu.major}.${qemu.minor}.${qemu.micro}${build === '' ? '' : ` (${build})`}`;
    return { version, schema };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
