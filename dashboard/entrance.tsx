/** For an address that names no project: finds the user's project and leads to its clusters. */
import { useEffect, useState } from 'react';
import { CofferApiError, identify } from '../client/index.ts';
import { Spinner } from './parts/basics.tsx';
import { FailureNote } from './parts/failure.tsx';
import { API_URL, go, hrefTo } from './router.tsx';
import { type SignIn, SignInPage } from './sign-in.tsx';

/** For an API that asks nobody to sign in: the same tenant that the command line uses there. */
const OPEN_TENANT = 'demo';

interface EntranceProps {
  readonly signIn: SignIn | undefined;
  readonly onSignIn: (signIn: SignIn) => void;
}

export function Entrance({ signIn, onSignIn }: EntranceProps) {
  const [refusal, setRefusal] = useState<unknown>();
  const [tries, setTries] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another try asks again
  useEffect(() => {
    let isCurrent = true;
    setRefusal(undefined);
    whereTo(signIn).then(
      (project) => isCurrent && go(hrefTo([project, 'clusters']), { replace: true }),
      (error: unknown) => isCurrent && setRefusal(error),
    );
    return () => {
      isCurrent = false;
    };
  }, [signIn, tries]);
  if (refusal === undefined) return <Spinner label="Asking the API who you are" />;
  if (isAsked(refusal)) {
    return <SignInPage refusal={signIn === undefined ? null : (refusal as Error)} onSignIn={onSignIn} />;
  }
  return (
    <main className="alone">
      <FailureNote error={refusal} what="The dashboard could not start" onRetry={() => setTries(tries + 1)} />
    </main>
  );
}

/** Whether the API wants another token, or a token at all. */
export function isAsked(refusal: unknown): boolean {
  return (
    refusal instanceof NoProject || (refusal instanceof CofferApiError && [401, 403].includes(refusal.status))
  );
}

/** The project that the user typed, or the project that the token is for. */
async function whereTo(signIn: SignIn | undefined): Promise<string> {
  if (signIn?.project) return signIn.project;
  const token = signIn?.token;
  const { user, project_id } = await identify({ endpoint: API_URL, ...(token !== undefined && { token }) });
  if (project_id !== null) return project_id;
  if (user === null) return OPEN_TENANT;
  throw new NoProject('It is valid, and for no project: have one issued for a project, or name the project.');
}

class NoProject extends Error {}
