/*
 * What is put into libvirt's `domainsnapshot.rng` so that mirrors are valid. libvirt's own hook for more below a disk is
 * the definition `storageSourceExtra`, which this file of libvirt already overrides; file and block disks refer to it.
 */

/** What of mirrors a schema takes: nothing, the one-line form of 2012, or the typed forms too. */
export type SchemaMirror = 'none' | 'file' | 'typed';

const HOOK = /(<define name="storageSourceExtra"[^>]*>(?:\s|<!--[\s\S]*?-->)*)<ref name="disksnapshotdriver"\/>/;

const HOOKED = '$1<interleave><ref name="disksnapshotdriver"/><ref name="disksnapshotmirror"/></interleave>';

const PATH = '<ref name="absFilePath"/>';

const FILE_MIRROR = `
  <define name="disksnapshotmirror">
    <optional>
      <element name="mirror">
        <attribute name="file">${PATH}</attribute>
        <empty/>
      </element>
    </optional>
  </define>
`;

const FORMAT_ATTRIBUTE = '<optional><attribute name="format"><ref name="mirrorFormat"/></attribute></optional>';

const FORMAT_ELEMENT =
  '<optional><element name="format"><attribute name="type"><ref name="mirrorFormat"/></attribute></element></optional>';

function pathSource(type: 'file' | 'block', attribute: 'file' | 'dev', more: string): string {
  return `
      <group>
        <attribute name="type"><value>${type}</value></attribute>
        ${more}
        <interleave>
          <element name="source">
            <attribute name="${attribute}">${PATH}</attribute>
            <zeroOrMore><ref name="devSeclabel"/></zeroOrMore>
            <empty/>
          </element>
          ${FORMAT_ELEMENT}
        </interleave>
      </group>`;
}

const TYPED_MIRROR = `
  <define name="mirrorFormat"><choice><value>qcow2</value><value>qed</value></choice></define>
  <define name="disksnapshotmirror">
    <optional>
      <element name="mirror">
        <optional><attribute name="job"><choice><value>copy</value><value>active-commit</value></choice></attribute></optional>
        <optional>
          <attribute name="ready"><choice><value>yes</value><value>abort</value><value>pivot</value></choice></attribute>
        </optional>
        <choice>
          <group>
            <attribute name="file">${PATH}</attribute>
            ${FORMAT_ATTRIBUTE}
          </group>
          ${pathSource('file', 'file', `<optional><attribute name="file">${PATH}</attribute></optional>${FORMAT_ATTRIBUTE}`)}
          ${pathSource('block', 'dev', '')}
          <interleave>
            <ref name="diskSourceNetwork"/>
            ${FORMAT_ELEMENT}
          </interleave>
        </choice>
      </element>
    </optional>
  </define>
`;

/** A network disk may have a driver and a mirror too; libvirt's schema refuses the driver that its own formatter writes. */
const NETWORK = /<ref name="diskSourceNetwork"\/>/;
const NETWORK_WITH_EXTRA = '<interleave><ref name="diskSourceNetwork"/><ref name="storageSourceExtra"/></interleave>';

/**
 * The text of `domainsnapshot.rng` with the mirror put in, or undefined when the place for it is not there.
 * @param rng The file as libvirt ships it (9.0 to 11.3 are known).
 */
export function withMirror(rng: string, mirror: SchemaMirror): string | undefined {
  if (mirror === 'none') return rng;
  if (!HOOK.test(rng) || !rng.includes('</grammar>')) return undefined;
  const hooked = rng.replace(HOOK, HOOKED);
  const open = mirror === 'typed' ? hooked.replace(NETWORK, NETWORK_WITH_EXTRA) : hooked;
  const end = open.lastIndexOf('</grammar>');
  return open.slice(0, end) + (mirror === 'typed' ? TYPED_MIRROR : FILE_MIRROR) + open.slice(end);
}
