Feature: Retrieve compute results
  As a user, I want to retrieve the results of my compute job securely
  so that I can access the output linked to my DID.

  Background:
    Given a provider
    And a user

  Rule: Without a proof of ownership, access to the results is denied

    Scenario Outline: A stranger learns no more than about a job that never was
      Given a completed job
      When a stranger asks to <command> the job by its <reference>
      Then the command fails with exit code 3
      And the stranger is told what everybody is told about no job at all
      And nothing of the result is in the stranger's home or directory

      Examples:
        | command | reference |
        | get     | id        |
        | get     | link      |
        | status  | id        |
        | logs    | link      |

    Scenario: A result is not there before its job has ended
      Given a running job
      When the user gets the result
      Then the command fails with exit code 1
      And it names "running"
      And the user's directory holds no result

  Rule: The owner gets the results after a fresh DID challenge

    Scenario: The owner fetches a verified result with its receipt
      Given a completed job
      When the user gets the result
      Then the command succeeds
      And the result holds the outputs, both streams, the exit code and the receipt

    Scenario: The owner fetches the result from another machine by the link
      Given a completed job
      When the user gets the result by the link from another machine
      Then the command succeeds
      And the result holds the outputs, both streams, the exit code and the receipt

  Rule: The user receives a notice with a link to the results

    Scenario: A completed job tells its link
      Given a completed job
      Then the job's document has a link to the result
