/** The client on a real libvirtd: its test driver, and where a VM is needed its QEMU driver. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab } from '../../lab/index.ts';
import { LabLibvirtd } from '../../lab/libvirtd.ts';
import { run } from '../base/index.ts';
import { DOMAIN_XML, ERR, isLibvirtError, LIFECYCLE, LibvirtClient, paramValues, SNAPSHOT_CREATE } from './index.ts';

let lab: Lab;
let daemon: LabLibvirtd;

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt-client' });
  daemon = await LabLibvirtd.start(lab, { listen: true, config: tlsConfig(await certificates(lab)) });
});
afterAll(async () => await lab[Symbol.asyncDispose]());

/** A certificate authority, and one certificate for both sides, as libvirt wants them. */
async function certificates(lab: Lab): Promise<string> {
  const folder = await lab.storage('pki');
  const file = (name: string): string => join(folder, name);
  const openssl = async (...args: string[]): Promise<void> => void (await run('openssl', args, { cwd: folder }));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...key, '-keyout', 'cakey.pem', '-out', 'cacert.pem', '-subj', '/CN=lab', '-days', '2');
  await openssl('req', ...key, '-keyout', 'clientkey.pem', '-out', 'request.pem', '-subj', '/CN=localhost');
  writeFileSync(
    file('extensions'),
    'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  const signed = ['-CA', 'cacert.pem', '-CAkey', 'cakey.pem', '-CAcreateserial', '-extfile', 'extensions'];
  await openssl('x509', '-req', '-in', 'request.pem', ...signed, '-out', 'clientcert.pem', '-days', '2');
  return folder;
}

const TLS_PORT = '36514';

function tlsConfig(folder: string): string[] {
  return [
    'listen_tls = 1',
    'listen_tcp = 0',
    'listen_addr = "127.0.0.1"',
    `tls_port = "${TLS_PORT}"`,
    'auth_tls = "none"',
    `ca_file = "${folder}/cacert.pem"`,
    `cert_file = "${folder}/clientcert.pem"`,
    `key_file = "${folder}/clientkey.pem"`,
  ];
}

describe('the test driver', () => {
  test('domains by name, uuid and id; lists; XML; what a domain is', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { domains } = await client.call('CONNECT_LIST_ALL_DOMAINS', { need_results: 1 });
    const [dom] = domains;
    if (dom === undefined) throw new Error('no domain');
    expect(dom).toEqual({ name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 });
    expect(await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' })).toEqual({ dom });
    expect(await client.call('DOMAIN_LOOKUP_BY_UUID', { uuid: dom.uuid })).toEqual({ dom });
    expect(await client.call('DOMAIN_LOOKUP_BY_ID', { id: 1 })).toEqual({ dom });
    expect(await client.call('DOMAIN_GET_STATE', { dom })).toEqual({ state: 1, reason: 0 });
    expect(await client.call('DOMAIN_IS_PERSISTENT', { dom })).toEqual({ persistent: 1 });
    expect(await client.call('CONNECT_GET_URI')).toEqual({ uri: 'test:///default' });
    const { xml } = await client.call('DOMAIN_GET_XML_DESC', { dom, flags: DOMAIN_XML.INACTIVE });
    expect(xml).toContain(`<uuid>${dom.uuid}</uuid>`);
    expect((await client.call('DOMAIN_GET_INFO', { dom })).maxMem).toBe(8_388_608n);
  });

  test('the same as virsh says', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const virsh = async (...args: string[]): Promise<string> =>
      (await run('virsh', ['-c', daemon.uri('test'), ...args])).stdout.trimEnd();
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    expect((await client.call('DOMAIN_GET_XML_DESC', { dom })).xml.trimEnd()).toBe(await virsh('dumpxml', 'test'));
    expect((await client.call('CONNECT_GET_CAPABILITIES')).capabilities.trimEnd()).toBe(await virsh('capabilities'));
  });

  test('snapshots: created, listed, described, related, deleted', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    const create = async (name: string): Promise<void> => {
      const xml_desc = `<domainsnapshot><name>${name}</name><description>é &lt; ß</description></domainsnapshot>`;
      expect((await client.call('DOMAIN_SNAPSHOT_CREATE_XML', { dom, xml_desc })).snap).toEqual({ name, dom });
    };
    await create('one');
    await create('zwei');
    const { snapshots } = await client.call('DOMAIN_LIST_ALL_SNAPSHOTS', { dom, need_results: 1 });
    expect(snapshots.map(({ name }) => name).toSorted()).toEqual(['one', 'zwei']);
    const { snap } = await client.call('DOMAIN_SNAPSHOT_CURRENT', { dom });
    expect(snap.name).toBe('zwei');
    expect((await client.call('DOMAIN_SNAPSHOT_GET_PARENT', { snap })).snap.name).toBe('one');
    expect((await client.call('DOMAIN_SNAPSHOT_GET_XML_DESC', { snap })).xml).toContain('é &lt; ß');
    expect(await client.call('DOMAIN_SNAPSHOT_NUM', { dom })).toEqual({ num: 2 });
    await client.call('DOMAIN_SNAPSHOT_DELETE', { snap });
    const parentless = client.call('DOMAIN_SNAPSHOT_LOOKUP_BY_NAME', { dom, name: 'zwei' });
    await expect(parentless).rejects.toSatisfy((error) => isLibvirtError(error, ERR.NO_DOMAIN_SNAPSHOT));
    const weird = { dom, xml_desc: '<domainsnapshot><weird/></domainsnapshot>', flags: SNAPSHOT_CREATE.VALIDATE };
    await expect(client.call('DOMAIN_SNAPSHOT_CREATE_XML', weird)).rejects.toSatisfy((error) =>
      isLibvirtError(error, ERR.XML_INVALID_SCHEMA),
    );
  });

  test('events come in order, to the queue that was opened before', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    using events = await client.listen(['LIFECYCLE'], (event) => event.dom.uuid === dom.uuid);
    await client.call('DOMAIN_SUSPEND', { dom });
    await client.call('DOMAIN_RESUME', { dom });
    expect([(await events.next()).event, (await events.next()).event]).toEqual([
      LIFECYCLE.SUSPENDED,
      LIFECYCLE.RESUMED,
    ]);
  });

  test('two hundred calls under way at once', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    const calls = Array.from({ length: 200 }, async (_, n) =>
      n % 2 === 0
        ? (await client.call('DOMAIN_GET_XML_DESC', { dom })).xml.length > 100
        : (await client.call('DOMAIN_LOOKUP_BY_ID', { id: 1 })).dom.name === 'test',
    );
    expect((await Promise.all(calls)).every(Boolean)).toBe(true);
  });

  test('typed parameters, in both directions', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { dom } = await client.call('DOMAIN_CREATE_XML', {
      xml_desc: `<domain type='test'><name>tuned</name><memory>1024</memory><os><type>hvm</type></os><devices>
        <disk type='file'><source file='/a'/><target dev='vda'/></disk></devices></domain>`,
    });
    await client.call('DOMAIN_SET_BLOCK_IO_TUNE', {
      dom,
      disk: 'vda',
      params: [
        { field: 'write_bytes_sec', type: 'ullong', value: 123_456n },
        { field: 'write_bytes_sec_max', type: 'ullong', value: 200_000n },
      ],
    });
    const asked = await client.call('DOMAIN_GET_BLOCK_IO_TUNE', { dom, disk: 'vda', nparams: 32 });
    expect(paramValues(asked.params)['write_bytes_sec']).toBe(123_456n);
    const { retStats } = await client.call('CONNECT_GET_ALL_DOMAIN_STATS', { doms: [dom], stats: 1 });
    expect(paramValues(retStats[0]?.params ?? [])['state.state']).toBe(1);
    await client.call('DOMAIN_DESTROY', { dom });
  });

  test('a call that the driver does not know', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    await expect(client.call('DOMAIN_BLOCK_PULL', { dom, path: 'vda', bandwidth: 0n })).rejects.toSatisfy((error) =>
      isLibvirtError(error, ERR.NO_SUPPORT),
    );
  });

  test('a read-only connection may look and not touch', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'), { readOnly: true });
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'test' });
    await expect(client.call('DOMAIN_SUSPEND', { dom })).rejects.toSatisfy((error) =>
      isLibvirtError(error, ERR.OPERATION_DENIED),
    );
  });
});

describe('the end of a connection', () => {
  test('libvirtd is killed: what is under way is unknown, events end, a new connection works', async () => {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    using events = await client.listen(['LIFECYCLE']);
    const waiting = events.next();
    waiting.catch(() => undefined);
    await daemon.kill();
    expect(await client.closed).toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
    await expect(waiting).rejects.toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
    await expect(client.call('CONNECT_GET_URI')).rejects.toMatchObject({ code: 'LIBVIRT_CLOSED' });
    await daemon.untilReady();
    await using again = await LibvirtClient.connect(daemon.uri('test'));
    expect(again.state).toBe('ready');
  });
});

describe('other ways', () => {
  test('TLS: both sides show a certificate', async () => {
    const pki = join(lab.folder, 'pki');
    const uri = `test://localhost:${TLS_PORT}/default?pkipath=${pki}`;
    await using client = await LibvirtClient.connect(uri);
    expect((await client.call('CONNECT_LIST_ALL_DOMAINS', { need_results: 1 })).ret).toBe(1);
    expect(await client.call('CONNECT_IS_SECURE')).toEqual({ secure: 1 });
  });

  test('TLS: a certificate of somebody else is refused by both', async () => {
    const folder = await lab.storage('pki-other');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    const make = ['req', '-x509', ...key, '-subj', '/CN=other'];
    await run('openssl', [...make, '-keyout', `${folder}/clientkey.pem`, '-out', `${folder}/clientcert.pem`]);
    writeFileSync(join(folder, 'cacert.pem'), readFileSync(join(folder, 'clientcert.pem')));
    const uri = `test://localhost:${TLS_PORT}/default?pkipath=${folder}`;
    await expect(LibvirtClient.connect(uri)).rejects.toMatchObject({ code: 'LIBVIRT_CONNECT' });
    writeFileSync(join(folder, 'cacert.pem'), readFileSync(join(lab.folder, 'pki', 'cacert.pem')));
    await expect(LibvirtClient.connect(uri)).rejects.toMatchObject({ code: 'LIBVIRT_CONNECT' });
  });

  // No sshd runs here. What stands in for ssh runs the far side's command where the lab's libvirtd is, so that all but the encryption
  // is real: our command line, the shell's two rounds of quoting, virt-ssh-helper or a netcat, libvirtd.
  test.each(['native', 'netcat'])('ssh, with %s on the far side', async (proxy) => {
    const bin = await lab.storage('bin');
    const script = (name: string, text: string): void => {
      writeFileSync(join(bin, name), text);
      chmodSync(join(bin, name), 0o755);
    };
    const [pid] = daemon.pids('libvirtd');
    const there = `nsenter --mount --target ${pid} sh -c "$*"`;
    script('ssh', `#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec ${there}\n`);
    script('nc', `#!/bin/sh\nexec '${process.execPath}' '${bin}/nc.mjs' "$@"\n`);
    script(
      'nc.mjs',
      `import { connect } from 'node:net';
       const s = connect(process.argv.at(-1)); process.stdin.pipe(s); s.pipe(process.stdout); s.on('error', (e) => { console.error(e.message); process.exit(1); });`,
    );
    const before = process.env['PATH'];
    process.env['PATH'] = `${bin}${delimiter}${before}`;
    try {
      const options = proxy === 'native' ? `proxy=native` : `netcat=${bin}/nc&socket=${daemon.socket}`;
      await using client = await LibvirtClient.connect(`test+ssh://nobody@far/default?${options}&no_tty=1`);
      expect((await client.call('CONNECT_LIST_ALL_DOMAINS', { need_results: 1 })).ret).toBe(1);
      const nowhere = LibvirtClient.connect(`test+ssh://far/default?netcat=${bin}/nc&socket=/no/such`);
      await expect(nowhere).rejects.toThrow(/ENOENT.*\/no\/such/);
    } finally {
      process.env['PATH'] = before;
    }
  });
});
