/* SPDX-License-Identifier: MIT */
/*
 * Atomics and barriers under QEMU's names (qemu/atomic.h).  Nothing else in this directory touches
 * a compiler builtin, so the memory model of the loop is what this page says.
 *
 *   qatomic_read, qatomic_set                    atomic, unordered
 *   qatomic_load_acquire, qatomic_store_release  one half of a pair each
 *   qatomic_xchg, _cmpxchg, _fetch_*, _or, ...   sequentially consistent
 *   smp_mb                                       a full barrier between two unordered accesses
 *
 * ThreadSanitizer does not model stand-alone barriers.  Under it the unordered accesses become
 * sequentially consistent, which is what access plus smp_mb() means, and the barriers only bind the
 * compiler.  So its reports need no suppressions, and it cannot prove a barrier superfluous.
 */
#ifndef DEMO_ATOMIC_H
#define DEMO_ATOMIC_H

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define DEMO_UNDER_TSAN
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define DEMO_UNDER_TSAN
#endif

#ifdef DEMO_UNDER_TSAN
#define QATOMIC_UNORDERED __ATOMIC_SEQ_CST
#define smp_mb()	  __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()	  smp_mb()
#define smp_wmb()	  smp_mb()
#else
#define QATOMIC_UNORDERED __ATOMIC_RELAXED
#define smp_mb()	  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()	  __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()	  __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
#define barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* After a read-modify-write, which is a full barrier already. */
#define smp_mb__before_rmw() barrier()
#define smp_mb__after_rmw()  barrier()

#define qatomic_read(ptr)	      __atomic_load_n(ptr, QATOMIC_UNORDERED)
#define qatomic_set(ptr, i)	      __atomic_store_n(ptr, i, QATOMIC_UNORDERED)
#define qatomic_load_acquire(ptr)     __atomic_load_n(ptr, __ATOMIC_ACQUIRE)
#define qatomic_store_release(ptr, i) __atomic_store_n(ptr, i, __ATOMIC_RELEASE)
#define qatomic_set_mb(ptr, i)	      ((void)qatomic_xchg(ptr, i))
#define qatomic_rcu_read(ptr)	      qatomic_load_acquire(ptr)
#define qatomic_rcu_set(ptr, i)	      qatomic_store_release(ptr, i)

#define qatomic_xchg(ptr, i)	  __atomic_exchange_n(ptr, i, __ATOMIC_SEQ_CST)
#define qatomic_fetch_add(ptr, n) __atomic_fetch_add(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_sub(ptr, n) __atomic_fetch_sub(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_and(ptr, n) __atomic_fetch_and(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_or(ptr, n)  __atomic_fetch_or(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_inc(ptr)	  qatomic_fetch_add(ptr, 1)
#define qatomic_fetch_dec(ptr)	  qatomic_fetch_sub(ptr, 1)
#define qatomic_inc(ptr)	  ((void)qatomic_fetch_inc(ptr))
#define qatomic_dec(ptr)	  ((void)qatomic_fetch_dec(ptr))
#define qatomic_add(ptr, n)	  ((void)qatomic_fetch_add(ptr, n))
#define qatomic_and(ptr, n)	  ((void)qatomic_fetch_and(ptr, n))
#define qatomic_or(ptr, n)	  ((void)qatomic_fetch_or(ptr, n))

#define qatomic_fetch_xor(ptr, n) __atomic_fetch_xor(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_add_fetch(ptr, n) __atomic_add_fetch(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_sub_fetch(ptr, n) __atomic_sub_fetch(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_and_fetch(ptr, n) __atomic_and_fetch(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_or_fetch(ptr, n)  __atomic_or_fetch(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_xor_fetch(ptr, n) __atomic_xor_fetch(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_inc_fetch(ptr)	  qatomic_add_fetch(ptr, 1)
#define qatomic_dec_fetch(ptr)	  qatomic_sub_fetch(ptr, 1)
#define qatomic_sub(ptr, n)	  ((void)qatomic_fetch_sub(ptr, n))
#define qatomic_xor(ptr, n)	  ((void)qatomic_fetch_xor(ptr, n))

/* Returns what was found; the exchange happened if that equals @old. */
#define qatomic_cmpxchg(ptr, old, new)                                                             \
	({                                                                                         \
		__typeof__(*(ptr)) found_ = (old);                                                 \
		__atomic_compare_exchange_n(ptr, &found_, new, false, __ATOMIC_SEQ_CST,            \
					    __ATOMIC_SEQ_CST);                                     \
		found_;                                                                            \
	})

/* In a loop that waits for another CPU. */
#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#else
#define cpu_relax() barrier()
#endif

#endif
