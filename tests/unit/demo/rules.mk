# Unit tests of the demo loop, one program per file.
UNIT_DEMO_SRC := $(wildcard tests/unit/demo/test-*.c)
UNIT_DEMO_BIN := $(UNIT_DEMO_SRC:%.c=$(BUILD)/%)

$(BUILD)/tests/unit/demo/%: tests/unit/demo/%.c $(BUILD)/libdemoloop.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -MMD -MP $(filter %.c %.o,$^) $(filter %.a,$^) -o $@ \
		$(ALL_LDFLAGS) $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# Its include lines are those of a program for QEMU.
$(BUILD)/tests/unit/demo/test-compat: DEMO_CFLAGS += -Idemo-qemu-loop/include

$(BUILD)/tests/unit/demo/test-probes $(BUILD)/tests/unit/demo/test-self-record: $(BUILD)/libtrace.a

# They run the scenarios themselves, all of the program but its main().
$(BUILD)/tests/unit/demo/test-events $(BUILD)/tests/unit/demo/test-vcpu: $(BUILD)/libtrace.a \
	$(filter-out %/demo.o,$(filter $(BUILD)/obj/demo-qemu-loop/demo%.o,$(DEMO_OBJ)))

# What must hold however a context waits; the other programs try all monitors themselves, or need none.
# The names are those of loop-test.h.
UNIT_DEMO_MONITORS := poll poll-8.2 epoll epoll-8.2 io_uring
UNIT_DEMO_WITH_ALL := $(addprefix $(BUILD)/tests/unit/demo/test-,bh coroutine device linux-aio main-loop \
	notify stress thread-pool timer)

# A program that fails shows all it said.
.PHONY: check-unit-demo
check-unit-demo: $(UNIT_DEMO_BIN) $(BUILD)/bench/bench-loop $(BUILD)/demo-qemu-loop $(BUILD)/demo-qemu-loop-noprobes ## unit tests of the demo loop
	$(Q)for m in $(UNIT_DEMO_MONITORS); do \
		for t in $(UNIT_DEMO_WITH_ALL); do \
			out=$$(LOOP_TEST_MONITOR=$$m $$t --tap 2>&1) || \
				{ echo "$$out"; echo "FAILED: LOOP_TEST_MONITOR=$$m $$t"; exit 1; }; \
		done; \
		printf '  %-8s with %s: %s\n' CHECK $$m "$(patsubst test-%,%,$(notdir $(UNIT_DEMO_WITH_ALL)))"; \
	done
	$(Q)for t in $(UNIT_DEMO_BIN); do \
		out=$$(DEMO_QEMU_LOOP=$(BUILD)/demo-qemu-loop \
			DEMO_QEMU_LOOP_NOPROBES=$(BUILD)/demo-qemu-loop-noprobes $$t --tap 2>&1) || \
			{ echo "$$out"; echo "FAILED: $$t"; exit 1; }; \
		printf '  %-8s %s: %d ok\n' CHECK $$t $$(echo "$$out" | grep -c '^ok'); \
	done
	$(Q)BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -p no:cacheprovider tests/unit/demo

-include $(UNIT_DEMO_BIN:=.d)
