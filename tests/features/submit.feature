Feature: Submit a compute job
  As a user, I want to submit a compute job securely using my DID
  so that I can process my data on other people's machines.

  Background:
    Given a provider
    And a user

  Rule: The provider authenticates the user by DID before it accepts anything

    Scenario: Nobody can submit as an identity whose key they do not hold
      When the user submits a job as the identity "somebody-else"
      Then the command fails with exit code 125
      And it names "somebody-else"
      And the provider has no job of the user

    Scenario: The user answers a challenge before the job is accepted
      When the user submits a job and waits
      Then the provider challenged the DID before it accepted

  Rule: What cannot be right is refused before anything leaves the user's machine

    Scenario: A job file with a misspelt option is refused with the right name
      Given a job file that says "timeouts: {runn: 5s}"
      When the user submits the job file
      Then the command fails with exit code 2
      And it names "run"
      And the provider has no job of the user

    Scenario: An input that does not exist is refused
      When the user submits a job with the input "absent.csv"
      Then the command fails with exit code 2
      And it names "absent.csv"
      And the provider has no job of the user

  Rule: Resources are allocated for the job and tagged with the user's DID

    Scenario: The room a job holds is gone from the next advert, and back after it
      When the user starts a job that runs until it is told to end
      Then the provider shows less room
      And the provider's job belongs to the user's DID
      When the job is told to end
      Then the provider shows all its room

  Rule: Job details are kept, and outputs belong to the user's DID

    Scenario: The result names its owner and its provider
      When the user submits a job and waits
      Then the job's document names the user and the provider
      And the job's history runs from allocated to completed

  Rule: The user is told when the job starts and when it is completed

    Scenario: The notices come in order while the user waits
      When the user submits a job and waits
      Then the user was told of "starting", "running" and "completed" in this order

    Scenario: Notices that were missed come with the next command
      When the user submits a job and leaves
      And the provider has completed the job
      Then the job's history runs from allocated to completed
