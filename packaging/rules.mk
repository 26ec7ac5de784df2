# packaging/: man pages, completion, "make install", "make deb".  What is made lies in $(BUILD)/man and
# $(BUILD)/deb.
PREFIX  ?= /usr/local
DESTDIR ?=
MAN_SRC := packaging/man.py packaging/roff.py $(wildcard docs/man/*.md gdb-scripts/qemu_gdb/*.py)

# They say what the programs say of themselves, so the programs come first.
$(BUILD)/man/loopscope.1: $(BUILD)/loopscope $(BUILD)/demo-qemu-loop $(BUILD)/trace/probes.roff $(MAN_SRC)
	$(call say,MAN,$(@D))
	$(Q)$(PYTHON) -B packaging/man.py --build $(BUILD) --out $(@D)

.PHONY: man install uninstall deb
man: $(BUILD)/man/loopscope.1 ## make the man pages: man -l build/man/loopscope.1

install: all man ## install to DESTDIR/PREFIX (/usr/local): programs, man pages, completion, gdb commands
	$(Q)packaging/install.sh $(BUILD) "$(DESTDIR)$(PREFIX)"

uninstall: ## remove what "make install" with the same DESTDIR and PREFIX has put there
	$(Q)packaging/install.sh --remove $(BUILD) "$(DESTDIR)$(PREFIX)"

deb: all man ## make a Debian package, in build/deb
	$(Q)packaging/deb.sh $(BUILD)
