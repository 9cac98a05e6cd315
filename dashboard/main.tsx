/**
 * The dashboard. It talks to the API only through the SDK.
 *
 * - `app.tsx` the frame, and the mapping from addresses to screens · `router.tsx` addresses · `theme.ts` dark
 *   or light
 * - `session.tsx` the user, with the token in memory · `sign-in.tsx` · `data.ts` how screens read, watch and
 *   act
 * - `format.ts` numbers and times · `words.ts` the API's words as people read them · `tones.ts` · `deed.ts` ·
 *   `parts/` small parts
 * - `clusters/` list, cluster with its topology, creation · `upgrades/` requesting an upgrade, and watching
 *   it
 * - `batches/` many upgrades at once · `admin/` dead letters and health · `styles/`
 */
import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/screens.css';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { applyTheme } from './theme.ts';

applyTheme();
const root = document.getElementById('root');
if (root) createRoot(root).render(<App />);
