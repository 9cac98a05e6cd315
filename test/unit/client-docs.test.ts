/** Every function that a user of the SDK can call says what it does. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { ROOT } from '../support/docs.ts';

interface Documented {
  readonly name: string;
  readonly comment: string;
}

function isPublic(member: ts.Node & { readonly name?: ts.PropertyName }): boolean {
  return !member.name || !ts.isPrivateIdentifier(member.name);
}

/** Methods of exported classes and interfaces, and exported functions. */
function functionsOf(file: string): Documented[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(ROOT, file), 'utf8'),
    ts.ScriptTarget.ES2023,
    true,
  );
  const isExported = (node: ts.Node) =>
    ts.canHaveModifiers(node) &&
    ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
  const commentOf = (node: ts.Node) =>
    ts
      .getJSDocCommentsAndTags(node)
      .map((doc) => doc.getText(source))
      .join('\n');
  return source.statements.flatMap((statement) => {
    if (!isExported(statement)) return [];
    if (ts.isFunctionDeclaration(statement))
      return [{ name: `${file}: ${statement.name?.text}`, comment: commentOf(statement) }];
    if (!ts.isClassDeclaration(statement) && !ts.isInterfaceDeclaration(statement)) return [];
    const members: readonly (ts.ClassElement | ts.TypeElement)[] = [...statement.members];
    return members
      .filter(
        (member) => (ts.isMethodDeclaration(member) || ts.isMethodSignature(member)) && isPublic(member),
      )
      .map((member) => ({
        name: `${file}: ${statement.name?.text}.${member.name?.getText(source)}`,
        comment: commentOf(member),
      }));
  });
}

it('has a docstring', () => {
  const files = readdirSync(join(ROOT, 'client')).filter((name) => name.endsWith('.ts'));
  const functions = files.flatMap((name) => functionsOf(`client/${name}`));
  expect(functions.length).toBeGreaterThan(40);
  expect(functions.filter(({ comment }) => comment.length < 20).map(({ name }) => name)).toEqual([]);
});
