// The API reference of a room, out of the docstrings in its source. TypeScript's own compiler API is no longer there, so this
// reads the text: biome lays it out in one way, and every export has a written type.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Something that a room exports. */
interface Exported {
  readonly name: string;
  /** Path of the file that declares it, relative to the room. */
  readonly file: string;
  readonly docs: string;
  /** Its declaration, without what is in a function. */
  readonly declaration: string;
}

const DECLARATION =
  /^(?:\/\*\*(?<docs>(?:(?!\*\/)[\s\S])*)\*\/\n)?export (?:abstract )?(?<kind>function|class|interface|type|const) (?<name>\w+)/gm;

/** The text of a docstring without its asterisks; paragraphs and tags begin a line. */
function docText(comment: string): string {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
    .join('\n')
    .trim();
}

/** Where the bracket that opens at a place is closed. Brackets in strings do not occur in declarations. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (let place = open; place < text.length; place += 1) {
    if ('{(['.includes(text.charAt(place))) depth += 1;
    if ('})]'.includes(text.charAt(place)) && --depth === 0) return place;
  }
  return text.length;
}

/** The first of some characters that is outside all brackets, from a place on. */
function outside(text: string, from: number, wanted: RegExp): number {
  for (let place = from; place < text.length; place += 1) {
    if (wanted.test(text.slice(place, place + 2))) return place;
    if ('{(['.includes(text.charAt(place))) place = closing(text, place);
  }
  return text.length;
}

function withoutPrivate(body: string): string {
  const members = body.split(/\n(?= {2}(?:\/\*\*|[\w#[]))/);
  const kept: string[] = [];
  for (let place = 0; place < members.length; place += 1) {
    const member = members[place] ?? '';
    const documented = member.trimStart().startsWith('/**');
    const declared = documented && !/\*\/\n/.test(member) ? `${member}\n${members[((place += 1))] ?? ''}` : member;
    const signature = declared.replace(/^\s*\/\*\*[\s\S]*?\*\/\n/, '').trimStart();
    if (signature === '' || /^(?:readonly )?#|^private /.test(signature)) continue;
    const end = outside(declared, declared.indexOf(signature), /^(?: \{|;)/);
    kept.push(`${declared.slice(0, end).replace(/^\n/, '')};`);
  }
  return kept.join('\n');
}

function declarationOf(text: string, start: number, kind: string): string {
  switch (kind) {
    case 'interface': {
      return text.slice(start, closing(text, text.indexOf('{', start)) + 1);
    }
    case 'class': {
      const open = text.indexOf('{\n', start);
      return `${text.slice(start, open)}{\n${withoutPrivate(text.slice(open + 1, closing(text, open)))}\n}`;
    }
    case 'function': {
      return `${text.slice(start, outside(text, start, /^ \{$/m))};`;
    }
    case 'const': {
      const equals = outside(text, start, /^ =/);
      const literal = text.slice(equals, outside(text, equals, /^;/));
      // A list of words is its own documentation; of anything longer the type is enough.
      return literal.includes('as const') ? `${text.slice(start, equals)}${literal};` : `${text.slice(start, equals)};`;
    }
    default: {
      return `${text.slice(start, outside(text, start, /^;/))};`;
    }
  }
}

function exportsOf(room: string, file: string): readonly Exported[] {
  const text = readFileSync(join(ROOT, 'src', room, file), 'utf8');
  return [...text.matchAll(DECLARATION)].map((match) => {
    const { docs = '', kind = '', name = '' } = match.groups ?? {};
    const start = match.index + match[0].lastIndexOf('export ');
    return { name, file, docs: docText(docs), declaration: declarationOf(text, start, kind).replace(/^export /, '') };
  });
}

/** What the room's index exports, in its order. */
function publicExports(room: string): readonly Exported[] {
  const index = readFileSync(join(ROOT, 'src', room, 'index.ts'), 'utf8');
  return [...index.matchAll(/export (?:type )?(?:\{([^}]*)\}|\*) from '\.\/([^']+)'/g)].flatMap(
    ([, names, file = '']) => {
      const declared = exportsOf(room, file);
      if (names === undefined) return declared;
      return names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter((name) => name !== '')
        .map((name) => {
          const found = declared.find((each) => each.name === name);
          if (found === undefined) throw new Error(`src/${room}/${file} does not declare ${name}`);
          return found;
        });
    },
  );
}

/** A docstring as markdown: its tags as a list. */
function prose(docs: string): string {
  const [text = '', ...tags] = docs.split(/^@/m);
  const items = tags.map((tag) => {
    const [, kind = '', rest = ''] = /^(\w+)\s*([\s\S]*)$/.exec(tag.trim()) ?? [];
    return `- *${kind}* ${rest.replaceAll(/\s*\n\s*/g, ' ')}`;
  });
  return [text.trim(), items.join('\n')].filter((part) => part !== '').join('\n\n');
}

function section({ name, file, docs, declaration }: Exported, room: string): string {
  const source = `[${file}](../../src/${room}/${file})`;
  return [`### ${name}`, prose(docs), `\`\`\`ts\n${declaration}\n\`\`\``, `In ${source}.`]
    .filter((part) => part !== '')
    .join('\n\n');
}

function folderOf({ file }: Exported): string {
  return dirname(file) === '.' ? '' : dirname(file);
}

/**
 * The page of a room.
 * @param titles A heading for each folder of the room, in the order of the page; '' is the room itself.
 */
export function apiDocs(room: string, titles: Readonly<Record<string, string>>): string {
  const all = publicExports(room);
  const strange = all.find((each) => titles[folderOf(each)] === undefined);
  if (strange) throw new Error(`no heading for ${strange.file}`);
  const parts = Object.entries(titles).flatMap(([folder, title]) => [
    `## ${title}`,
    ...all.filter((each) => folderOf(each) === folder).map((each) => section(each, room)),
  ]);
  return `${[
    `# API: blockferry/${room}`,
    '<!-- Generated by setup/generate-api-docs.ts out of the docstrings. Do not edit. -->',
    ...parts,
  ].join('\n\n')}\n`;
}

/** The rooms that have a page, with their headings. */
export const API_PAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  domainsnapshot: {
    parse: 'Reading',
    format: 'Writing',
    '': 'Errors',
    model: 'The snapshot',
    align: 'Aligning with a domain',
    tree: 'The snapshots of a domain',
    spec: 'snapshot-create-as',
    schema: 'The schema',
    xml: 'Documents and trees',
  },
};
