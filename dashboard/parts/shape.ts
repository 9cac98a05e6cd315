import { useEffect, useState } from 'react';
import type { Shape } from '../tones.ts';

export function useShape(): Shape {
  const [shape, setShape] = useState<Shape>(() => (isNarrow().matches ? 'narrow' : 'wide'));
  useEffect(() => {
    const query = isNarrow();
    const look = () => setShape(query.matches ? 'narrow' : 'wide');
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return shape;
}

function isNarrow(): MediaQueryList {
  return window.matchMedia('(width <= 720px)');
}
