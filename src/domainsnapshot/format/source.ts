import type {
  NetworkHost,
  NetworkSource,
  NvmeSource,
  SecretReference,
  SecurityLabel,
  SourceEncryption,
  StorageSource,
} from '../model/source.ts';
import type { Attributes, XmlWriter } from '../xml/writer.ts';

function yesNo(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : value ? 'yes' : 'no';
}

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

function secretAttributes(secret: SecretReference): Attributes {
  return [
    ['uuid', secret.uuid],
    ['usage', secret.usage],
  ];
}

function formatHost(writer: XmlWriter, host: NetworkHost): void {
  writer.empty('host', [
    ['name', host.name],
    ['port', host.port],
    ['transport', host.transport === 'tcp' ? undefined : host.transport],
    ['socket', host.socket],
  ]);
}

/** The name as it is written: rbd's and gluster's pool before the first slash. */
function networkName(source: NetworkSource): string | undefined {
  return source.volume === undefined ? source.path : `${source.volume}/${source.path ?? ''}`;
}

function attributesOf(source: StorageSource): Attributes {
  switch (source.type) {
    case 'file':
      return [
        ['file', source.path],
        ['fdgroup', source.fdGroup],
      ];
    case 'block':
      return [['dev', source.path]];
    case 'network':
      return [
        ['protocol', source.protocol],
        ['name', networkName(source)],
        ['query', source.query],
        ['tls', yesNo(source.tls)],
        ['tlsHostname', source.tlsHostname],
      ];
    case 'nvme':
      if (source.namespace === undefined) return [];
      return [
        ['type', 'pci'],
        ['managed', yesNo(source.managed)],
        ['namespace', source.namespace],
      ];
    case 'vhostuser':
      if (source.socket === undefined) return [];
      return [
        ['type', 'unix'],
        ['path', source.socket],
      ];
    case 'vhostvdpa':
      break;
  }
  return [['dev', source.device]];
}

function formatNetwork(writer: XmlWriter, source: NetworkSource): void {
  for (const host of source.hosts) formatHost(writer, host);
  writer.element('identity', [
    ['user', source.identity?.user],
    ['group', source.identity?.group],
  ]);
  writer.element('snapshot', [['name', source.snapshot]]);
  writer.element('config', [['file', source.config]]);
  writer.element('initiator', [], () => writer.element('iqn', [['name', source.initiator]]));
  writer.element('ssl', [['verify', yesNo(source.sslVerify)]]);
  writer.element('readahead', [['size', source.readahead]]);
  writer.element('timeout', [['seconds', source.timeout]]);
}

function formatNvme(writer: XmlWriter, source: NvmeSource): void {
  if (source.namespace === undefined) return;
  const { address } = source;
  writer.empty('address', [
    ['domain', hex(address.domain, 4)],
    ['bus', hex(address.bus, 2)],
    ['slot', hex(address.slot, 2)],
    ['function', hex(address.function, 1)],
  ]);
}

function formatLocation(writer: XmlWriter, source: StorageSource): void {
  if (source.type === 'network') formatNetwork(writer, source);
  if (source.type === 'nvme') formatNvme(writer, source);
  if (source.type === 'vhostuser') {
    writer.element('reconnect', [
      ['enabled', yesNo(source.reconnect?.enabled)],
      ['timeout', source.reconnect?.timeout],
    ]);
  }
}

function formatSecurityLabel(writer: XmlWriter, label: SecurityLabel): void {
  writer.element(
    'seclabel',
    [['model', label.model], label.labelSkip ? ['labelskip', 'yes'] : ['relabel', yesNo(label.relabel)]],
    () => writer.text('label', label.label),
  );
}

/** libvirt writes both tags of `<encryption>` even when there is nothing between them. */
function formatEncryption(writer: XmlWriter, encryption: SourceEncryption): void {
  writer.open(
    'encryption',
    [
      ['format', encryption.format],
      ['engine', encryption.engine],
    ],
    () => {
      for (const secret of encryption.secrets) {
        writer.empty('secret', [['type', 'passphrase'], ...secretAttributes(secret)]);
      }
      const { cipher, ivgen } = encryption;
      if (cipher === undefined) return;
      writer.empty('cipher', [
        ['name', cipher.name],
        ['size', cipher.size],
        ['mode', cipher.mode],
        ['hash', cipher.hash],
      ]);
      if (ivgen === undefined) return;
      writer.empty('ivgen', [
        ['name', ivgen.name],
        ['hash', ivgen.hash],
      ]);
    },
  );
}

/** What stands below `<source>` for every type, in libvirt's order; a network source has no security labels. */
function formatExtras(writer: XmlWriter, source: StorageSource): void {
  const { slice, auth, encryption, reservations } = source;
  if (slice !== undefined) {
    writer.open('slices', [], () =>
      writer.empty('slice', [
        ['type', 'storage'],
        ['offset', slice.offset],
        ['size', slice.size],
      ]),
    );
  }
  if (source.type !== 'network') {
    for (const label of source.securityLabels ?? []) formatSecurityLabel(writer, label);
  }
  if (auth !== undefined) {
    writer.open(
      'auth',
      [
        ['type', auth.type],
        ['username', auth.username],
      ],
      () => writer.empty('secret', [['type', auth.secretType], ...secretAttributes(auth.secret)]),
    );
  }
  if (encryption !== undefined) formatEncryption(writer, encryption);
  if (reservations !== undefined) {
    writer.element('reservations', [['managed', yesNo(reservations.managed)]], () => {
      if (reservations.path === undefined) return;
      writer.empty('source', [
        ['type', 'unix'],
        ['path', reservations.path],
        ['mode', 'client'],
      ]);
    });
  }
}

/** `<source>`, left out when it would have neither attribute nor child. */
export function formatSource(writer: XmlWriter, source: StorageSource): void {
  writer.element('source', attributesOf(source), () => {
    formatLocation(writer, source);
    formatExtras(writer, source);
  });
}
