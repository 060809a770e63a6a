"""Runners: how they are launched, watched and ended, and what works on their machines.

    requests      words of people and of CML → a request        opening       the clouds and forges of this environment
    estimating    what it would cost                            manager       the one door: `Runners`
    launching     request → machine that has reported           served        the same door, where a server does it
    preparing     what a machine starts with                    hosting       the server's threads that do it
    foreground    a runner that is this process                 base, context what all of these share
    keeping       what is due by the ledger                     cancelling    Ctrl+C and cancelled CI jobs
    extending     more time                                     verdicts      who is over: the rules, pure
    ending        nothing of it is left                         doctor        may we, and does it all agree
    reaping       what others left                              shown         foreign words, fit to be shown

`startup` makes the script of a machine, `machine` is the loop that it runs, and `agents` (CI) and `jobs` (notebooks) are the work.
"""
