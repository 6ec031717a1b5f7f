#pragma once

// Compiles a function, with all that it calls, also for processors with AVX2.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define NEUVID_CLONES [[gnu::flatten, gnu::target_clones("arch=x86-64-v3", "default")]]
#else
#define NEUVID_CLONES
#endif
