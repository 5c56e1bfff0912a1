import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { ParseOption, RelaxNGValidator, XmlDocument, XmlValidateError, xmlRegisterInputProvider } from 'libxml2-wasm';
import { errnoOf } from '../../base/index.ts';

/*
 * The one file that calls libxml2's RelaxNG: its wrapper is marked as to be removed. Should it go, `xmllint --relaxng`
 * gives the same verdicts.
 */

/** libxml2 resolves a schema's includes against its address. This scheme is served by the folder that is being loaded. */
const SCHEME = 'blockferry-schema:/';

let folderBeingLoaded: string | undefined;
let registered = false;

/** Lets libxml2 read the files of the folder that is being loaded, and no others. */
function registerProvider(): void {
  if (registered) return;
  registered = xmlRegisterInputProvider({
    match: (name) => folderBeingLoaded !== undefined && /^blockferry-schema:\/[^/]+$/.test(name),
    open: (name) => {
      try {
        return openSync(join(folderBeingLoaded ?? '', decodeURIComponent(name.slice(SCHEME.length))), 'r');
      } catch (error) {
        // libxml2 reports the include that cannot be read; anything else is a fault of ours.
        if (errnoOf(error) === undefined) throw error;
        return undefined;
      }
    },
    read: (fd, buffer) => readSync(fd, buffer),
    close: (fd) => {
      closeSync(fd);
      return true;
    },
  });
}

/** A compiled RelaxNG schema. It holds memory of libxml2 until it is disposed or collected. */
export class RelaxNgSchema implements Disposable {
  readonly #validator: RelaxNGValidator;

  private constructor(validator: RelaxNGValidator) {
    this.#validator = validator;
  }

  /**
   * Compiles a schema; takes about 0.1 s for libvirt's.
   * @param rng Text of the schema.
   * @param folder Where the files are that it includes.
   * @param name Its file name, for messages.
   * @throws XmlLibError when it is not a schema or an include cannot be read.
   */
  static compile(rng: string, folder: string, name: string): RelaxNgSchema {
    registerProvider();
    folderBeingLoaded = folder;
    const document = XmlDocument.fromString(rng, { url: SCHEME + name, option: ParseOption.XML_PARSE_NO_XXE });
    try {
      return new RelaxNgSchema(RelaxNGValidator.fromDoc(document));
    } finally {
      document.dispose();
      folderBeingLoaded = undefined;
    }
  }

  /** libxml2's messages about a document, none when it is valid. The document must be well-formed. */
  validate(xml: Uint8Array, encoding: string | undefined): readonly string[] {
    const document = XmlDocument.fromBuffer(xml, {
      ...(encoding === undefined ? {} : { encoding }),
      option: ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NOERROR,
    });
    try {
      this.#validator.validate(document);
      return [];
    } catch (error) {
      if (error instanceof XmlValidateError) return error.details.map((detail) => detail.message.trim());
      throw error;
    } finally {
      document.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.#validator.dispose();
  }
}
