import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DEFAULT_CORPUS } from './default-corpus.ts';

/** Documents to mutate: ours, and those of the corpus where it is at hand. */
function seeds(): readonly string[] {
  const folder = join(DEFAULT_CORPUS, 'in');
  const corpus = existsSync(folder) ? readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8')) : [];
  return [
    "<domainsnapshot><name>s</name><disks><disk name='vda'><source file='/a'/><mirror file='/m'/></disk></disks></domainsnapshot>",
    '<domainsnapshot><name>s</name><state>running</state><creationTime>1</creationTime><active>1</active></domainsnapshot>',
    "<!DOCTYPE d [<!ENTITY a 'b'>]><domainsnapshot><name>&a;</name></domainsnapshot>",
    ...corpus,
  ];
}

const ELEMENTS = 'domainsnapshot name state disks disk source mirror driver memory domain host'.split(' ');
const ATTRIBUTES = 'file dev type snapshot protocol'.split(' ');
const VALUES = ['type', 'snapshot', 'external', 'network', 'qcow2', '/a', 'running', '1', '-1', ''];
const WORDS = [...ELEMENTS, ...ATTRIBUTES, ...VALUES];

/** A tree of the words that mean something here, in places where they may mean nothing. */
const vocabularyDocument: fc.Arbitrary<string> = fc
  .letrec<{ element: string; body: string }>((tie) => ({
    element: fc
      .tuple(
        fc.constantFrom(...ELEMENTS),
        fc.uniqueArray(fc.constantFrom(...ATTRIBUTES), { maxLength: 3 }),
        fc.array(fc.constantFrom(...VALUES), { minLength: 3, maxLength: 3 }),
        tie('body'),
      )
      .map(([name, attributes, values, body]) => {
        const list = attributes.map((attribute, place) => ` ${attribute}='${values[place]}'`).join('');
        return `<${name}${list}>${body}</${name}>`;
      }),
    body: fc.oneof(
      { maxDepth: 5, depthSize: 'small' },
      fc.constantFrom('', 'x', '1', 'running', '<!-- c -->', '<?p i?>', '<![CDATA[<]]>', '&amp;', '&#65;'),
      fc.array(tie('element'), { maxLength: 4 }).map((elements) => elements.join('')),
    ),
  }))
  .element.map((element) => `<domainsnapshot>${element}</domainsnapshot>`);

type Mutation = readonly [kind: 'cut' | 'double' | 'put' | 'swap', place: number, length: number, piece: string];

const mutation: fc.Arbitrary<Mutation> = fc.tuple(
  fc.constantFrom('cut' as const, 'double' as const, 'put' as const, 'swap' as const),
  fc.double({ min: 0, max: 0.999, noNaN: true }),
  fc.integer({ min: 1, max: 30 }),
  fc.oneof(
    fc.constantFrom(
      ...WORDS,
      '<',
      '>',
      "'",
      '&',
      '&#0;',
      '\u0000',
      '</disk>',
      "<mirror file='m'/>",
      ']]>',
      '\ufffe',
      " x:y=''",
    ),
  ),
);

function mutate(document: string, [kind, place, length, piece]: Mutation): string {
  const at = Math.floor(place * document.length);
  const before = document.slice(0, at);
  const part = document.slice(at, at + length);
  const after = document.slice(at + length);
  if (kind === 'cut') return before + after;
  if (kind === 'double') return before + part + part + after;
  return kind === 'put' ? before + piece + part + after : before + piece + after;
}

/** Anything that somebody might hand to the parser. */
export function arbitraryDocument(): fc.Arbitrary<string | Uint8Array> {
  const mutated = fc
    .tuple(fc.constantFrom(...seeds()), fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([document, mutations]) => mutations.reduce(mutate, document));
  return fc.oneof(
    { weight: 6, arbitrary: mutated },
    { weight: 4, arbitrary: vocabularyDocument },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  );
}
