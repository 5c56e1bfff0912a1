import { DOMAIN_STATE, LibvirtClient } from '../../src/libvirt/index.ts';
import type { LabLibvirtd } from '../index.ts';

/**
 * A connection to the test driver of a libvirtd as it is at first. It keeps its state while somebody is connected: one that is not
 * fresh belongs to who was there before.
 */
export async function freshTestDriver(
  daemon: LabLibvirtd,
  options: { readonly readOnly?: boolean } = {},
): Promise<LibvirtClient> {
  for (;;) {
    const client = await LibvirtClient.connect(daemon.uri('test'), options);
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    const { num } = await client.call('DOMAIN_SNAPSHOT_NUM', { dom });
    const { state } = await client.call('DOMAIN_GET_STATE', { dom });
    if (num === 0 && state === DOMAIN_STATE.RUNNING) return client;
    await client[Symbol.asyncDispose]();
  }
}
