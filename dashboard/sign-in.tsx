import { type FormEvent, useState } from 'react';
import { Button, Note } from './parts/basics.tsx';
import { Dialog } from './parts/dialog.tsx';
import { Field, TextInput } from './parts/fields.tsx';
import { Logo } from './parts/icons.tsx';
import { go, hrefTo, usePlace } from './router.tsx';

interface SignInProps {
  readonly tenant: string;
  /** Why the last token did not do. */
  readonly refusal: Error | null;
  readonly onToken: (token: string) => void;
}

/** Before anything is shown. The address stays: after it the user is where they wanted to be. */
export function SignInPage(props: SignInProps) {
  return (
    <main className="alone sign-in">
      <Logo />
      <h1>Sign in to Coffer</h1>
      <SignInForm {...props} />
    </main>
  );
}

/** Over the screen, which stays as it is, with what was typed into it. */
export function SignInDialog(props: SignInProps) {
  return (
    <Dialog title="Your session has expired" onClose={null}>
      <p>Sign in again, and go on where you are. What goes on in Coffer goes on all the same.</p>
      <SignInForm {...props} isProjectFixed />
    </Dialog>
  );
}

interface SignInFormProps extends SignInProps {
  /** Another one would be another place. */
  readonly isProjectFixed?: boolean;
}

function SignInForm({ tenant, refusal, onToken, isProjectFixed = false }: SignInFormProps) {
  const [token, setToken] = useState('');
  const [project, setProject] = useState(tenant);
  const { path, query } = usePlace();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (project.trim() !== tenant) {
      const [, ...below] = path;
      go(hrefTo([project.trim(), ...below], Object.fromEntries(query)), { replace: true });
    }
    onToken(token.trim());
  };
  return (
    <form onSubmit={submit} className="stack">
      {refusal && (
        <Note kind="bad" title="That token was refused">
          {refusal.message}
        </Note>
      )}
      {!isProjectFixed && (
        <Field label="Project" hint="Id of the tenant that the token is for.">
          {(id) => (
            <TextInput id={id} value={project} onChange={setProject} required autoComplete="username" />
          )}
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
