import type { Mirror } from '../model/snapshot.ts';
import { DISK_FORMATS, isOneOf, SOURCE_TYPES } from '../model/values.ts';
import { childNamed, property, type XmlElement } from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { parseSource, type SourceContext } from './source.ts';

/** How `<mirror>` is read: refused, the one-line form of 2012 only, or the typed forms too. */
export type MirrorForm = 'refused' | 'file' | 'typed';

const JOBS = ['copy', 'active-commit'] as const;
const READY = ['yes', 'abort', 'pivot'] as const;

function parseFormat(text: string | undefined, element: XmlElement): Pick<Mirror, 'format'> {
  if (text === undefined) return {};
  if (!isOneOf(DISK_FORMATS, text)) throw xmlFault(`unknown storage source format '${text}'`, element);
  return { format: text };
}

/** `job` and `ready` are output; they are only read back from stored metadata. */
function parseProgress(element: XmlElement, typed: boolean): Pick<Mirror, 'job' | 'ready'> {
  const job = property(element, 'job');
  if (job !== undefined && !isOneOf(JOBS, job)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown mirror job type '${job}'`, element);
  }
  if (job === 'active-commit' && !typed) throw xmlFault('mirror without type only supported by copy job', element);
  const ready = property(element, 'ready');
  if (ready !== undefined && !isOneOf(READY, ready)) throw xmlFault(`unknown mirror ready state ${ready}`, element);
  return { ...(job === undefined || job === 'copy' ? {} : { job }), ...(ready === undefined ? {} : { ready }) };
}

/** The form with `type`: the children count, and the attributes `file` and `format` do not. */
function parseTyped(element: XmlElement, type: string, context: SourceContext): Mirror {
  if (!isOneOf(SOURCE_TYPES, type) || !isOneOf(['file', 'block', 'network'] as const, type)) {
    throw xmlFault(`unknown storage source type '${type}'`, element);
  }
  const source = childNamed(element, 'source');
  if (source === undefined) throw xmlFault('mirror requires source element', element);
  const target = parseSource(source, type, context);
  if (target.type !== 'file' && target.type !== 'block' && target.type !== 'network') {
    throw new TypeError(`unexpected source of type ${target.type}`);
  }
  const format = childNamed(element, 'format');
  return { target, ...(format ? parseFormat(property(format, 'type'), format) : {}) };
}

/**
 * The checks that a mirror allows nothing of, in this order: not asked for, no file, not external. The first `<mirror>`
 * counts.
 *
 * @param disk The name of the disk as given, for the messages.
 * @param external Whether the disk's location is external, now that the mirror itself has made an unset one so.
 */
export function parseMirror(
  element: XmlElement,
  options: { readonly disk: string; readonly external: boolean; readonly form: MirrorForm; readonly lenient: boolean },
  context: SourceContext,
): Mirror {
  const { disk, form } = options;
  if (form === 'refused') {
    throw new Fault('VIR_ERR_ARGUMENT_UNSUPPORTED', `unable to handle mirroring for '${disk}'`, element);
  }
  const type = form === 'typed' ? property(element, 'type') : undefined;
  const file = property(element, 'file');
  if (type === undefined && file === undefined) {
    throw xmlFault(`mirror for '${disk}' requires file attribute`, element);
  }
  if (!options.external) throw xmlFault(`mirror for '${disk}' requires external snapshot`, element);
  const mirror: Mirror =
    type === undefined
      ? {
          target: { type: 'file', path: file ?? '' },
          ...(form === 'typed' ? parseFormat(property(element, 'format'), element) : {}),
        }
      : parseTyped(element, type, context);
  const path = mirror.target.type === 'network' ? undefined : (mirror.target.path ?? '');
  if (path !== undefined && !path.startsWith('/') && !options.lenient) {
    throw xmlFault(`disk snapshot image path '${path}' must be absolute`, element);
  }
  return form === 'typed' && context.status ? { ...mirror, ...parseProgress(element, type !== undefined) } : mirror;
}
