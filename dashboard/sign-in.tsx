import { type FormEvent, useState } from 'react';
import { Button, Note } from './parts/basics.tsx';
import { Dialog } from './parts/dialog.tsx';
import { Field, TextInput } from './parts/fields.tsx';
import { Logo } from './parts/icons.tsx';
import { go, hrefTo, usePlace } from './router.tsx';

/** The typed values. */
export interface SignIn {
  readonly token: string;
  /** The project that the user named; undefined for the project that the token is for. */
  readonly project: string | undefined;
}

interface SignInProps {
  /** Why the last token was refused. */
  readonly refusal: Error | null;
  readonly onSignIn: (signIn: SignIn) => void;
}

/** Shown before anything else. The address stays, so that after the sign-in the user is at the wanted place. */
export function SignInPage(props: SignInProps) {
  return (
    <main className="alone sign-in">
      <Logo />
      <h1>Sign in to Coffer</h1>
      <SignInForm {...props} />
    </main>
  );
}

/** Shown over the screen, which stays unchanged, with everything that was typed into it. */
export function SignInDialog(props: SignInProps) {
  return (
    <Dialog title="Your session has expired" onClose={null}>
      <p>Sign in again, and go on where you are. What goes on in Coffer goes on all the same.</p>
      <SignInForm {...props} isProjectFixed />
    </Dialog>
  );
}

interface SignInFormProps extends SignInProps {
  /** True where another project would lead to another screen. */
  readonly isProjectFixed?: boolean;
}

function SignInForm({ refusal, onSignIn, isProjectFixed = false }: SignInFormProps) {
  const [token, setToken] = useState('');
  const [project, setProject] = useState('');
  const { path, query } = usePlace();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const [tenant, ...below] = path;
    const wanted = isProjectFixed ? (tenant ?? '') : project.trim();
    if (wanted !== '' && tenant !== undefined && wanted !== tenant) {
      go(hrefTo([wanted, ...below], Object.fromEntries(query)), { replace: true });
    }
    onSignIn({ token: token.trim(), project: wanted === '' ? undefined : wanted });
  };
  return (
    <form onSubmit={submit} className="stack">
      {refusal && (
        <Note kind="bad" title="That token was refused">
          {refusal.message}
        </Note>
      )}
      {!isProjectFixed && (
        <Field
          label="Project"
          hint="Left empty: the one that the token is for. Administrators may name any, by its id."
        >
          {(id) => <TextInput id={id} value={project} onChange={setProject} autoComplete="username" />}
        </Field>
      )}
      <Field
        label="Token"
        hint="Of the API's tokens file, or of Keystone: openstack token issue -c id -f value. It is kept in this page's memory only."
      >
        {(id) => (
          <TextInput id={id} type="password" value={token} onChange={setToken} required autoComplete="off" />
        )}
      </Field>
      <Button type="submit" kind="primary">
        Sign in
      </Button>
    </form>
  );
}
